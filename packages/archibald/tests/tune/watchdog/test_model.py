"""The watchdog's decisions: what counts as starved, who is demoted, and who is not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archibald.tune.watchdog.model import (
    TAKEN_SHARE,
    Beat,
    Kind,
    Look,
    Sample,
    Thread,
    Use,
    Watch,
    culprits,
    late_shares,
    uses,
)

HOG = Thread(100, 100, 7, "hog", "hog", "FIFO", 50, 1, 0.0, kernel=False)
LOOP = replace(HOG, tid=200, pid=190, comm="data-loop.0", program="pipewire", priority=88)
IRQ = replace(HOG, tid=30, pid=30, comm="irq/131-xhci", program="irq/131-xhci", kernel=True)


def _ran(thread: Thread, seconds: float, **changes) -> Thread:
    return replace(thread, run_s=thread.run_s + seconds, **changes)


def _names(found: list[Use]) -> list[str]:
    return [use.thread.comm for use in found]


class TestLateness:
    def test_a_canary_that_never_ran_waited_all_the_time(self):
        before = Look(10.0, {1: Beat(10.1, 0.0)})
        after = Look(11.1, {1: Beat(10.1, 0.0)})
        assert late_shares(before, after)[1] == pytest.approx(1.0 / 1.1)

    def test_one_that_ran_in_its_five_per_cent_waited_as_well(self):
        # Let in 0.95 s late by the kernel's safety net, and late again.
        before = Look(10.0, {1: Beat(10.1, 0.0)})
        after = Look(12.0, {1: Beat(11.25, 0.95)})
        assert late_shares(before, after)[1] == pytest.approx((0.95 + 0.75) / 2)

    def test_waiting_that_was_counted_is_not_counted_again(self):
        before = Look(11.0, {0: Beat(10.1, 0.0)})
        after = Look(12.0, {0: Beat(12.1, 0.9)})
        assert late_shares(before, after)[0] == pytest.approx(0.0)

    def test_no_time_and_new_cpus_say_nothing(self):
        look = Look(1.0, {0: Beat(0.5, 0)})
        assert late_shares(look, look) == {}
        assert late_shares(Look(0.0, {}), look) == {}

    @given(st.lists(st.tuples(st.floats(0, 3), st.floats(0, 3)), min_size=2, max_size=30))
    def test_shares_lie_between_none_and_all(self, steps):
        """Whatever the waits: each is counted once, so a look never sees more than its time."""
        now, due, late = 0.0, 0.2, 0.0
        before = Look(0.0, {0: Beat(due, late)})
        for wait, sleep in steps:
            woken = due + wait
            now = woken + min(sleep, 0.1)
            late, due = late + wait, woken + 0.2
            after = Look(now, {0: Beat(due, late)})
            share = late_shares(before, after)[0]
            assert -1e-9 <= share <= 1 + 1e-9
            before = after


class TestCulprits:
    def test_the_one_hog(self):
        assert _names(culprits([Use(HOG, 0.95), Use(LOOP, 0.02)])) == ["hog"]

    def test_a_busy_but_well_behaved_load_is_none(self):
        assert culprits([Use(LOOP, 0.69)]) == []

    def test_a_data_loop_beside_a_hog_is_a_victim_though_it_took_more(self):
        assert _names(culprits([Use(LOOP, 0.48), Use(HOG, 0.47)])) == ["hog"]
        assert _names(culprits([Use(LOOP, 0.65), Use(HOG, 0.30)])) == ["hog"]

    def test_a_data_loop_that_spins_by_itself_is_not_exempt(self):
        assert _names(culprits([Use(LOOP, 0.97)])) == ["data-loop.0"]

    def test_a_name_makes_nobody_immune(self):
        liar = replace(HOG, comm="data-loop.9")
        assert _names(culprits([Use(liar, 0.97), Use(LOOP, 0.01)])) == ["data-loop.9"]

    def test_threads_of_the_kernel_are_left_alone(self):
        assert culprits([Use(IRQ, 0.99)]) == []
        assert _names(culprits([Use(IRQ, 0.60), Use(HOG, 0.39)])) == ["hog"]

    def test_many_hogs_go_until_it_suffices(self):
        pack = [Use(replace(HOG, tid=n, comm=f"h{n}"), 0.24) for n in range(4)]
        assert _names(culprits(pack)) == ["h0", "h1"]

    def test_who_hardly_ran_is_not_demoted(self):
        crowd = [Use(replace(HOG, tid=n), 0.01) for n in range(90)]
        assert culprits(crowd) == []

    @given(
        st.lists(
            st.tuples(st.sampled_from([HOG, LOOP, IRQ]), st.floats(0, 1)), min_size=1, max_size=12
        )
    )
    def test_never_the_kernel_and_never_more_than_needed(self, parts):
        found = [Use(replace(thread, tid=n), share) for n, (thread, share) in enumerate(parts)]
        chosen = culprits(found)
        assert not any(use.thread.kernel for use in chosen)
        taken = sum(use.share for use in found)
        without_last = taken - sum(use.share for use in chosen[:-1])
        assert not chosen or without_last > TAKEN_SHARE
        left = taken - sum(use.share for use in chosen)
        candidates = [u for u in found if not u.thread.kernel and u.share >= 0.05]
        assert left <= TAKEN_SHARE + 1e-9 or len(chosen) == len(candidates)


def test_use_is_what_was_gained_since_and_a_new_thread_gained_all():
    before = Sample(10.0, [replace(HOG, run_s=4.0), replace(LOOP, run_s=1.0)])
    again = replace(HOG, start=99, run_s=0.5)
    after = Sample(12.0, [replace(LOOP, run_s=1.2), again, _ran(IRQ, 2.0, cpu=0)])
    assert [(use.thread.comm, round(use.share, 3)) for use in uses(before, after, 1)] == [
        ("hog", 0.25), ("data-loop.0", 0.1),
    ]  # fmt: skip
    assert uses(before, before, 1) == []


def _drive(watch: Watch, seconds: int, threads, *, late: bool = True, start: int = 0) -> list:
    """Let time pass in looks of one second, the canary of CPU 1 waiting or not."""
    events = []
    for second in range(start, start + seconds):
        now = float(second)
        beat = Beat(0.0, 0.0) if late else Beat(now + 0.1, 0.0)
        found = watch.late(Look(now, {1: beat}), 1.0)
        if found:
            events += watch.verdicts(found, Sample(now, threads(now)), 1.0)
    return events


def test_a_hog_is_named_after_the_time_and_not_before():
    watch = Watch(after_s=5.0)
    hog = lambda now: [_ran(HOG, 0.95 * now)]  # noqa: E731
    assert _drive(watch, 5, hog) == []
    (event,) = _drive(watch, 1, hog, start=5)
    assert (event.kind, event.cpu, event.seconds) == (Kind.DEMOTED, 1, 5.0)
    assert event.use.share == pytest.approx(0.95)
    assert event.message == (
        "CPU 1 left ordinary programs waiting for 5.0 s: hog (process 100, thread 100, FIFO 50) "
        "took 95% of it; it runs as an ordinary program now (SCHED_OTHER)"
    )
    # Counted anew, so it is not demoted twice in a row.
    assert _drive(watch, 4, hog, start=6) == []


#: Which share of each 0.4 s a canary waited beside a FIFO thread on Linux 6.18: let in once or
#: twice a second, it catches up, and then waits for nothing for a while.
TURNS = [1.0, 0.43, 0.32, 0.92, 0.0, 0.85, 0.39, 0.37, 0.87, 0.0, 0.89, 1.0, 0.75, 1.0, 0.84]


@pytest.mark.parametrize("first", range(len(TURNS)))
def test_a_hog_whose_canary_is_let_in_now_and_then_is_named(first):
    watch, late, events = Watch(after_s=2.0), 0.0, []
    for look in range(8):
        now = 0.4 * look
        late += 0.4 * TURNS[(first + look) % len(TURNS)]
        found = watch.late(Look(now, {1: Beat(now + 0.1, late)}), 0.4)
        if found:
            events += watch.verdicts(found, Sample(now, [_ran(HOG, 0.93 * now)]), 0.4)
    (event,) = events
    assert event.kind is Kind.DEMOTED
    assert event.use is not None
    assert event.use.thread == _ran(HOG, event.use.thread.run_s)


def test_a_pause_starts_the_count_anew():
    watch = Watch(after_s=5.0)
    hog = lambda now: [_ran(HOG, 0.95 * now)]  # noqa: E731
    assert _drive(watch, 5, hog) == []
    assert _drive(watch, 1, hog, late=False, start=5) == []
    assert _drive(watch, 4, hog, start=6) == []


def test_a_machine_that_stood_still_accuses_nobody():
    watch = Watch(after_s=2.0)
    hog = lambda now: [_ran(HOG, 0.95 * now)]  # noqa: E731
    _drive(watch, 2, hog)
    assert _drive(watch, 1, hog, start=60) == []
    assert watch.suspects == {}


def test_an_overload_without_real_time_threads_is_told_once():
    events = _drive(Watch(after_s=2.0), 20, lambda now: [_ran(LOOP, 0.2 * now)])
    assert [event.kind for event in events] == [Kind.UNEXPLAINED]
    assert "overloaded machine" in events[0].message
    assert "thread" not in events[0].data()


def test_an_overload_before_the_hog_does_not_hide_it():
    watch = Watch(after_s=3.0)
    told = _drive(watch, 20, lambda now: [HOG])
    assert [event.kind for event in told] == [Kind.UNEXPLAINED]
    events = _drive(watch, 5, lambda now: [_ran(HOG, 0.95 * (now - 19))], start=20)
    assert [(event.kind, event.seconds) for event in events] == [(Kind.DEMOTED, 3.0)]


def test_a_burst_that_ends_in_time_is_forgiven():
    """The canary waits all the time, but for another reason from the third second on."""
    watch = Watch(after_s=4.0)
    ran = lambda now: [_ran(HOG, 0.95 * min(now, 3.0))]  # noqa: E731
    assert {event.kind for event in _drive(watch, 20, ran)} == {Kind.UNEXPLAINED}


def test_a_storm_of_interrupts_is_told_once_and_left_alone():
    events = _drive(Watch(after_s=2.0), 20, lambda now: [_ran(IRQ, 0.9 * now)])
    assert [event.kind for event in events] == [Kind.KERNEL]
    assert "irq/131-xhci" in events[0].message
    assert "left alone" in events[0].message
