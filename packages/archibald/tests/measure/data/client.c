/* A JACK client for the tests: passes sound on after a delay, inverts it, works, or stalls.
 *
 *   client NAME DELAY_FRAMES GAIN BUSY_US STALL_EVERY_CYCLES STALL_US
 *
 * Prints "xrun" for each xrun callback, and "ready" once it is active. Ends with SIGTERM.
 */
#include <jack/jack.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define MOST 65536

static jack_port_t *in, *out;
static float line[MOST], gain;
static unsigned delay, position;
static long busy_us, stall_every, stall_us, cycles;

static void spend(long us)
{
    struct timespec start, now;

    clock_gettime(CLOCK_MONOTONIC, &start);
    do
        clock_gettime(CLOCK_MONOTONIC, &now);
    while ((now.tv_sec - start.tv_sec) * 1000000L + (now.tv_nsec - start.tv_nsec) / 1000L < us);
}

static int process(jack_nframes_t frames, void *unused)
{
    float *from = jack_port_get_buffer(in, frames), *to = jack_port_get_buffer(out, frames);

    (void)unused;
    for (jack_nframes_t i = 0; i < frames; i++) {
        line[position % MOST] = from[i];
        to[i] = gain * line[(position + MOST - delay) % MOST];
        position++;
    }
    if (busy_us)
        spend(busy_us);
    if (stall_every && ++cycles % stall_every == 0)
        spend(stall_us);
    return 0;
}

static int on_xrun(void *unused)
{
    (void)unused;
    printf("xrun\n");
    fflush(stdout);
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
    stall_every = atol(argv[5]);
    stall_us = atol(argv[6]);
    sigemptyset(&end);
    sigaddset(&end, SIGTERM);
    sigprocmask(SIG_BLOCK, &end, NULL);
    client = jack_client_open(argv[1], JackNoStartServer, NULL);
    if (!client)
        return 3;
    in = jack_port_register(client, "in", JACK_DEFAULT_AUDIO_TYPE, JackPortIsInput, 0);
    out = jack_port_register(client, "out", JACK_DEFAULT_AUDIO_TYPE, JackPortIsOutput, 0);
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
