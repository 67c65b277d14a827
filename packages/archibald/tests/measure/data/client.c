/* A JACK client for the tests: passes sound and MIDI on after a delay, inverts sound, works, or
 * stalls.
 *
 *   client NAME DELAY_FRAMES GAIN BUSY_US STALL_AFTER_CYCLES STALL_US
 *
 * Prints "ready" once it is active, and with the monotonic time in seconds "xrun" for each xrun
 * callback and "stall" when it begins one. Ends with SIGTERM.
 */
#include <jack/jack.h>
#include <jack/midiport.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MOST 65536
#define MESSAGES 256
#define BYTES 3

static jack_port_t *in, *out, *midi_in, *midi_out;
static float line[MOST], gain;
static unsigned delay, position;
static struct message { unsigned due; jack_midi_data_t bytes[BYTES]; } messages[MESSAGES];
static unsigned first_message, next_message;
static long busy_us, stall_every, stall_us, cycles, stalls, next_stall;

static void say(const char *what)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    printf("%s %ld.%09ld\n", what, (long)now.tv_sec, now.tv_nsec);
    fflush(stdout);
}

static void spend(long us)
{
    struct timespec start, now;

    clock_gettime(CLOCK_MONOTONIC, &start);
    do
        clock_gettime(CLOCK_MONOTONIC, &now);
    while ((now.tv_sec - start.tv_sec) * 1000000L + (now.tv_nsec - start.tv_nsec) / 1000L < us);
}

/* Messages wait in the order in which they came; each is due after the same delay. */
static void pass_midi_on(jack_nframes_t frames, unsigned now)
{
    void *from = jack_port_get_buffer(midi_in, frames), *to = jack_port_get_buffer(midi_out, frames);
    jack_midi_event_t event;

    for (uint32_t i = 0; i < jack_midi_get_event_count(from); i++)
        if (!jack_midi_event_get(&event, from, i) && event.size == BYTES) {
            struct message *last = &messages[next_message++ % MESSAGES];

            last->due = now + event.time + delay;
            memcpy(last->bytes, event.buffer, BYTES);
        }
    jack_midi_clear_buffer(to);
    for (; first_message != next_message; first_message++) {
        struct message *first = &messages[first_message % MESSAGES];

        if (first->due - now >= frames)
            break;
        jack_midi_event_write(to, first->due - now, first->bytes, BYTES);
    }
}

static int process(jack_nframes_t frames, void *unused)
{
    float *from = jack_port_get_buffer(in, frames), *to = jack_port_get_buffer(out, frames);

    (void)unused;
    pass_midi_on(frames, position);
    for (jack_nframes_t i = 0; i < frames; i++) {
        line[position % MOST] = from[i];
        to[i] = gain * line[(position + MOST - delay) % MOST];
        position++;
    }
    if (busy_us)
        spend(busy_us);
    /* Not at equal distances, so that two series of stalls fit together in one way only. */
    if (stall_every && ++cycles >= next_stall) {
        next_stall = cycles + stall_every + stalls++ * 7 % 11;
        say("stall");
        spend(stall_us);
    }
    return 0;
}

static int on_xrun(void *unused)
{
    (void)unused;
    say("xrun");
    return 0;
}

int main(int argc, char **argv)
{
    jack_client_t *client;
    sigset_t end;
    int caught;

    if (argc != 7)
        return 2;
    delay = (unsigned)atoi(argv[2]) % MOST;
    gain = (float)atof(argv[3]);
    busy_us = atol(argv[4]);
    next_stall = stall_every = atol(argv[5]);
    stall_us = atol(argv[6]);
    sigemptyset(&end);
    sigaddset(&end, SIGTERM);
    sigprocmask(SIG_BLOCK, &end, NULL);
    client = jack_client_open(argv[1], JackNoStartServer, NULL);
    if (!client)
        return 3;
    in = jack_port_register(client, "in", JACK_DEFAULT_AUDIO_TYPE, JackPortIsInput, 0);
    out = jack_port_register(client, "out", JACK_DEFAULT_AUDIO_TYPE, JackPortIsOutput, 0);
    midi_in = jack_port_register(client, "midi_in", JACK_DEFAULT_MIDI_TYPE, JackPortIsInput, 0);
    midi_out = jack_port_register(client, "midi_out", JACK_DEFAULT_MIDI_TYPE, JackPortIsOutput, 0);
    jack_set_process_callback(client, process, NULL);
    jack_set_xrun_callback(client, on_xrun, NULL);
    if (jack_activate(client))
        return 4;
    printf("ready\n");
    fflush(stdout);
    sigwait(&end, &caught);
    jack_client_close(client);
    return 0;
}
