use jiff::Timestamp;

use super::*;
use crate::host::generations::{Inputs, Manifest, Version};

const MINUTE: Option<Duration> = Some(Duration::from_secs(60));

/// A moment of the first boot, so many seconds after it.
fn at(seconds: u64) -> Moment {
    let time = time(seconds);
    Moment { time, since_boot: Duration::from_secs(seconds), boot: Some("first".to_owned()) }
}

fn time(seconds: u64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + i64::try_from(seconds).unwrap()).unwrap()
}

/// What a transition makes of a state at a moment.
fn then<T>(seconds: u64, transition: impl FnOnce(Stamp<'_>) -> T) -> T {
    transition(Stamp { by: &Operator::named("alice"), now: &at(seconds), note: &Note::default() })
}

fn generation(number: u64, made_by: MadeBy) -> Generation {
    let manifest = Manifest {
        version: Version,
        generation: number,
        made: Timestamp::UNIX_EPOCH,
        by: "alice".to_owned(),
        made_by,
        message: None,
        program: String::new(),
        policy: None,
        sha256: Default::default(),
    };
    Generation::new(manifest, String::new(), format!("rules {number}"), Inputs::default())
}

/// The state with one more generation.
fn with(state: &State, made_by: MadeBy, confirm_within: Option<Duration>, seconds: u64) -> State {
    let new = generation(state.next_number(), made_by);
    then(seconds, |stamp| state.after_apply(&new, confirm_within, stamp))
}

fn applied(state: &State, confirm_within: Option<Duration>, seconds: u64) -> State {
    with(state, MadeBy::Apply, confirm_within, seconds)
}

/// Two generations, the second in force and confirmed.
fn two() -> State {
    applied(&applied(&State::default(), None, 10), None, 20)
}

/// Two confirmed generations, and a third to be confirmed until 90 s after boot.
fn pending() -> State {
    applied(&two(), MINUTE, 30)
}

fn last_event(state: &State) -> &str {
    &state.events.last().unwrap().what
}

fn kept(state: &State) -> Vec<u64> {
    state.generations.keys().copied().collect()
}

#[test]
fn an_applied_generation_is_in_force_and_loaded_at_boot() {
    let state = applied(&State::default(), None, 10);
    assert_eq!((state.last, state.armed, state.current, state.confirmed), (1, 0, Some(1), Some(1)));
    assert_eq!((&state.pending, state.undone, &state.switching), (&None, None, &None));
    let record = Record {
        made_by: MadeBy::Apply,
        applied: Some(1),
        event: Some(1),
        confirmed: Some(time(10)),
        ..Record::found("rules 1".to_owned())
    };
    assert_eq!(state.generations[&1], record);
    let event = Event {
        number: 1,
        at: time(10),
        event: EventKind::Apply,
        what: "apply: generation 1".to_owned(),
        by: Operator::named("alice"),
        generation: Some(1),
        to: Some(1),
        left: Some(state.standing()),
        ..Event::default()
    };
    assert_eq!(state.events, [event]);
    assert_eq!(last_event(&with(&state, MadeBy::Refresh, None, 20)), "refresh: generation 2");
}

#[test]
fn an_applied_generation_with_a_deadline_is_in_force_and_not_loaded_at_boot() {
    let state = pending();
    assert_eq!((state.last, state.armed, state.current, state.confirmed), (3, 1, Some(3), Some(2)));
    assert_eq!(state.pending, Some(Pending::new(1, 3, Some(2), Duration::from_secs(60), &at(30))));
    assert_eq!(state.generations[&3].confirmed, None);
}

#[test]
fn a_change_after_the_table_is_gone_falls_back_to_what_boot_loads() {
    let confirmed = with(&State::default(), MadeBy::Apply, None, 0);
    let gone = State { current: None, ..confirmed };
    let tried = with(&gone, MadeBy::Apply, MINUTE, 10);
    assert_eq!(tried.pending.as_ref().unwrap().back_to, Some(1));
    assert_eq!(then(80, |stamp| tried.after_undo(Why::NotInTime, stamp)).current, Some(1));
}

#[test]
fn a_change_on_top_of_a_pending_one_falls_back_to_where_that_one_does() {
    let state = with(&pending(), MadeBy::Refresh, MINUTE, 40);
    assert_eq!(state.pending, Some(Pending::new(2, 4, Some(2), Duration::from_secs(60), &at(40))));
    // Without a deadline it ends the pending one.
    let state = applied(&pending(), None, 40);
    assert_eq!((state.pending, state.current, state.confirmed), (None, Some(4), Some(4)));
}

#[test]
fn going_back_rejects_what_is_left() {
    let state = then(30, |stamp| two().after_rollback(Some(1), None, stamp));
    assert_eq!((state.current, state.confirmed, state.last), (Some(1), Some(1), 2));
    assert_eq!(state.generations[&2].rolled_back, Some(time(30)));
    assert_eq!(last_event(&state), "rollback from generation 2 to generation 1");
    // Forward again: nothing is rejected, and the newer one is accepted again.
    let state = then(40, |stamp| state.after_rollback(Some(2), None, stamp));
    assert_eq!((state.current, state.confirmed), (Some(2), Some(2)));
    assert_eq!((state.generations[&1].rolled_back, state.generations[&2].rolled_back), (None, None));
    assert_eq!(state.generations[&2].confirmed, Some(time(20)), "the first time counts");
}

#[test]
fn going_back_to_no_table_has_no_deadline() {
    for confirm_within in [None, MINUTE] {
        let state = then(30, |stamp| two().after_rollback(None, confirm_within, stamp));
        assert_eq!((state.current, state.confirmed, &state.pending, state.armed), (None, None, &None, 0));
        assert_eq!(state.generations[&2].rolled_back, Some(time(30)));
        assert_eq!(last_event(&state), "rollback from generation 2 to no table");
    }
}

#[test]
fn going_back_may_have_a_deadline() {
    let state = then(30, |stamp| two().after_rollback(Some(1), MINUTE, stamp));
    assert_eq!((state.current, state.confirmed), (Some(1), Some(2)));
    assert_eq!(state.pending, Some(Pending::new(1, 1, Some(2), Duration::from_secs(60), &at(30))));
}

#[test]
fn a_confirmed_change_is_loaded_at_boot() {
    let state = then(50, |stamp| pending().after_confirm(stamp));
    assert_eq!((state.current, state.confirmed, &state.pending), (Some(3), Some(3), &None));
    assert_eq!(state.generations[&3].confirmed, Some(time(50)));
    assert_eq!(last_event(&state), "generation 3 is confirmed");
}

#[test]
fn an_extended_change_is_armed_again() {
    let state = then(80, |stamp| pending().after_extend(Duration::from_secs(60), stamp));
    assert_eq!(state.pending, Some(Pending::new(2, 3, Some(2), Duration::from_secs(60), &at(80))));
    assert_eq!((state.armed, last_event(&state)), (2, "generation 3 has a new deadline"));
    assert_eq!(then(80, |stamp| two().after_extend(Duration::from_secs(60), stamp)), two());
    // The preparations of a change do not use up its time.
    let state = pending().with_deadline_from_now(Duration::from_secs(60), &at(45));
    assert_eq!(state.pending, Some(Pending::new(1, 3, Some(2), Duration::from_secs(60), &at(45))));
    assert_eq!(state.armed, 1);
}

#[test]
fn an_expired_change_is_undone_with_the_refreshes_on_top_of_it() {
    let refreshed = with(&pending(), MadeBy::Refresh, MINUTE, 40);
    let (refreshed, _) = then(45, |stamp| refreshed.after_adoption("others", false, stamp));
    let state = then(100, |stamp| refreshed.after_undo(Why::NotInTime, stamp));
    assert_eq!((state.current, state.confirmed, &state.pending, state.undone), (Some(2), Some(2), &None, Some(4)));
    let rolled_back: Vec<_> = state.generations.values().map(|record| record.rolled_back).collect();
    // What another program put there was not on trial.
    assert_eq!(rolled_back, [None, None, Some(time(100)), Some(time(100)), None]);
    assert_eq!(last_event(&state), "rollback from generation 4 to generation 2: it was not confirmed in time");
    assert_eq!(then(100, |stamp| two().after_undo(Why::NotInTime, stamp)), two(), "nothing is pending");
}

#[test]
fn the_first_rules_are_undone_to_no_table() {
    let first = applied(&State::default(), MINUTE, 10);
    let state = then(100, |stamp| first.after_undo(Why::Reboot, stamp));
    assert_eq!((state.current, state.confirmed, state.undone), (None, None, Some(1)));
    assert_eq!(last_event(&state), "rollback from generation 1 to no table: the host rebooted before it was confirmed");
}

#[test]
fn what_was_undone_is_remembered_until_something_is_applied() {
    let undone = then(100, |stamp| pending().after_undo(Why::NotInTime, stamp));
    assert_eq!(undone.after_acknowledgement(), State { undone: None, ..undone.clone() });
    assert_eq!(applied(&undone, None, 110).undone, None);
    assert_eq!(then(110, |stamp| undone.after_rollback(Some(1), None, stamp)).undone, None);
}

#[test]
fn a_table_found_in_the_kernel_becomes_a_generation() {
    let (state, note) = then(30, |stamp| two().after_adoption("others", false, stamp));
    assert_eq!((state.last, state.current, state.confirmed), (3, Some(3), Some(2)));
    let record = Record { before: Some(2), event: Some(3), ..Record::found("others".to_owned()) };
    assert_eq!(state.generations[&3], record);
    assert_eq!(note, "the kernel had other rules than generation 2; they are kept as generation 3");
    assert_eq!(last_event(&state), note);
    // It can be left, and comes back by its number.
    let left = then(40, |stamp| state.after_rollback(Some(2), None, stamp));
    assert_eq!((kept(&left), left.generations[&3].rolled_back), (vec![1, 2, 3], Some(time(40))));
}

#[test]
fn a_table_that_is_gone_is_not_in_force() {
    let (state, note) = then(30, |stamp| two().after_loss(stamp));
    assert_eq!((state.current, state.confirmed, state.last), (None, Some(2), 2));
    assert_eq!((note.as_str(), last_event(&state)), ("the kernel has lost its table, which held generation 2", &*note));
}

#[test]
fn a_change_under_way_knows_both_ends() {
    let (before, after) = (pending(), applied(&pending(), MINUTE, 40));
    let under_way = before.under_way(&after, Some(4));
    let switching = Switching {
        from: Some(3),
        to: Some(4),
        pending: before.pending.clone(),
        event: after.events.last().cloned().map(Box::new),
    };
    assert_eq!(under_way.switching, Some(switching));
    assert_eq!((under_way.current, under_way.confirmed), (Some(3), Some(2)));
    assert_eq!((&under_way.pending, under_way.armed), (&after.pending, 2));
    assert_eq!(kept(&under_way), [1, 2, 3, 4]);
    // A failed change leaves the state as it was. Its numbers are used up.
    assert_eq!(before.after_failure(&after), State { last: 4, armed: 2, ..before });
}

#[test]
fn an_interrupted_change_that_took_effect_is_in_force() {
    let under_way = two().under_way(&applied(&two(), None, 30), Some(3));
    let (state, note) = then(40, |stamp| under_way.after_interruption(true, stamp)).unwrap();
    assert_eq!((state.current, state.confirmed, &state.switching), (Some(3), Some(3), &None));
    assert_eq!(state.generations[&3].confirmed, Some(time(40)));
    assert_eq!(note, "a change to generation 3 was interrupted after it took effect");
    assert_eq!(last_event(&state), note);
    // With a deadline it is pending.
    let under_way = two().under_way(&pending(), Some(3));
    let (state, _) = then(40, |stamp| under_way.after_interruption(true, stamp)).unwrap();
    assert_eq!((state.current, state.confirmed, &state.pending), (Some(3), Some(2), &pending().pending));
    // A rollback has rejected what it left.
    let under_way = two().under_way(&then(30, |stamp| two().after_rollback(Some(1), None, stamp)), Some(1));
    let (state, _) = then(40, |stamp| under_way.after_interruption(true, stamp)).unwrap();
    assert_eq!((state.current, state.confirmed), (Some(1), Some(1)));
    assert_eq!(state.generations[&2].rolled_back, Some(time(40)));
    assert_eq!(then(40, |stamp| two().after_interruption(true, stamp)), None, "nothing is under way");
}

#[test]
fn an_interrupted_change_that_did_not_take_effect_is_as_if_it_had_not_begun() {
    let undone = then(100, |stamp| pending().after_undo(Why::NotInTime, stamp));
    for (confirm_within, before) in [(None, pending()), (MINUTE, pending()), (MINUTE, undone)] {
        let under_way = before.under_way(&applied(&before, confirm_within, 40), Some(4));
        let (state, note) = then(50, |stamp| under_way.after_interruption(false, stamp)).unwrap();
        assert_eq!(note, "a change to generation 4 was interrupted before it took effect");
        assert_eq!(last_event(&state), note);
        // But for the numbers and the events.
        let State { last, armed, events, last_event, .. } = state.clone();
        assert_eq!(state, State { last, armed, events, last_event, ..before });
        assert_eq!(last, 4);
    }
}

#[test]
fn an_interrupted_rollback_forgets_nothing() {
    // Back to 1 on trial, and before that is confirmed forward again: 2 is still what the trial falls back to.
    let trial = then(30, |stamp| two().after_rollback(Some(1), MINUTE, stamp));
    let forward = then(40, |stamp| trial.after_rollback(Some(2), None, stamp));
    let (state, _) = then(50, |stamp| trial.under_way(&forward, Some(2)).after_interruption(false, stamp)).unwrap();
    assert_eq!((kept(&state), &state.pending), (vec![1, 2], &trial.pending));
    // Nothing was rejected either.
    let back = then(30, |stamp| two().after_rollback(Some(1), None, stamp));
    let (state, _) = then(50, |stamp| two().under_way(&back, Some(1)).after_interruption(false, stamp)).unwrap();
    assert_eq!(state.generations, two().generations);
    // Neither a generation that was confirmed once, nor one that was undone, nor one of which the records are lost.
    let lost = then(30, |stamp| two().after_loss(stamp)).0;
    let undone = then(100, |stamp| pending().after_undo(Why::NotInTime, stamp));
    let mut unknown = State { last: 3, ..State::default() };
    unknown.generations.extend([1, 2, 3].map(|number| (number, Record::found(String::new()))));
    for (before, to) in [(lost, 2), (undone, 3), (unknown, 1)] {
        let after = then(110, |stamp| before.after_rollback(Some(to), None, stamp));
        let (state, _) =
            then(120, |stamp| before.under_way(&after, Some(to)).after_interruption(false, stamp)).unwrap();
        assert_eq!(state.generations, before.generations);
    }
    // What another program put there is kept, too.
    let (found, _) = then(30, |stamp| two().after_adoption("others", false, stamp));
    let lost = then(40, |stamp| found.after_loss(stamp)).0;
    let forward = then(50, |stamp| lost.after_rollback(Some(3), None, stamp));
    let (state, _) = then(60, |stamp| lost.under_way(&forward, Some(3)).after_interruption(false, stamp)).unwrap();
    assert_eq!(kept(&state), [1, 2, 3]);
}

#[test]
fn boot_loads_what_is_confirmed_and_undoes_what_is_pending() {
    let state = then(40, |stamp| two().after_boot(2, stamp));
    assert_eq!(state, two(), "there is nothing to record");
    // An older one, where the last is damaged.
    let state = then(40, |stamp| two().after_boot(1, stamp));
    assert_eq!((state.current, state.confirmed), (Some(1), Some(2)));

    let second = Moment { boot: Some("second".to_owned()), ..at(5) };
    let state = pending().after_boot(2, Stamp { by: &Operator::named("root"), now: &second, note: &Note::default() });
    assert_eq!((state.current, &state.pending, state.undone), (Some(2), &None, Some(3)));
    assert!(last_event(&state).ends_with(": the host rebooted before it was confirmed"), "{state:?}");
    // `edgeward boot` by hand.
    let state = then(40, |stamp| pending().after_boot(2, stamp));
    assert!(last_event(&state).ends_with(": boot loads what is confirmed"), "{state:?}");
}

#[test]
fn boot_ends_a_change_under_way() {
    let under_way = two().under_way(&applied(&two(), None, 30), Some(3));
    let state = then(40, |stamp| under_way.after_boot(2, stamp));
    assert_eq!((state.current, &state.switching, kept(&state)), (Some(2), &None, vec![1, 2]));
    // One that replaces a pending one, and one that ends it: both were on trial, and are undone.
    for confirm_within in [MINUTE, None] {
        let under_way = pending().under_way(&applied(&pending(), confirm_within, 40), Some(4));
        let state = then(50, |stamp| under_way.after_boot(2, stamp));
        assert_eq!((state.current, &state.pending, &state.switching), (Some(2), &None, &None));
        assert_eq!(state.generations[&3].rolled_back, Some(time(50)));
        assert_eq!(state.generations[&4].rolled_back, Some(time(50)));
    }
}

#[test]
fn a_generation_that_something_refers_to_is_never_dropped() {
    // Boot loads the first, and a pending change falls back to the second, a refresh.
    let mut state = with(&applied(&State::default(), None, 10), MadeBy::Refresh, None, 20);
    state.confirmed = Some(1);
    for round in 0..41 {
        state = applied(&state, MINUTE, 30 + round);
    }
    assert_eq!(state.pending.as_ref().map(|pending| (pending.generation, pending.back_to)), Some((43, Some(2))));
    let newest = || (26..=43).collect::<Vec<u64>>();
    assert_eq!(kept(&state.clone().pruned()), [vec![1, 2], newest()].concat());
    // Both ends of a change under way, and what the change before it falls back to.
    let after = then(90, |stamp| state.after_rollback(Some(5), None, stamp));
    let pruned = state.under_way(&after, Some(5)).pruned();
    assert_eq!(kept(&pruned), [vec![1, 2, 5], newest()[1..].to_vec()].concat());
    // Refreshes are no exception, however many there are.
    for round in 0..10 {
        state = with(&state, MadeBy::Refresh, MINUTE, 100 + round);
    }
    assert_eq!(kept(&state.pruned())[..2], [1, 2]);
}

#[test]
fn the_oldest_generations_and_events_are_dropped() {
    let mut state = State::default();
    for round in 0..300 {
        // A user applies something every tenth time.
        let made_by = if round % 10 == 0 { MadeBy::Apply } else { MadeBy::Refresh };
        state = with(&state, made_by, None, round).pruned();
    }
    let refreshes = state.generations.values().filter(|record| record.made_by == MadeBy::Refresh).count();
    assert_eq!((state.generations.len(), refreshes), (20, 5));
    assert_eq!((kept(&state)[0], kept(&state)[19]), (151, 300));
    // Events go to a file that keeps all of them.
    assert_eq!((state.events.len(), state.events[0].number, state.last_event), (300, 1, 300));
}

#[test]
fn a_number_has_a_next_one() {
    use crate::host::generations::retention::MAX_NUMBER;
    let whole = |last, armed| State { last, armed, ..two() }.checked().is_ok();
    assert!(whole(MAX_NUMBER, MAX_NUMBER) && !whole(MAX_NUMBER + 1, 0) && !whole(2, u64::MAX));
    let mut state = two();
    state.generations.insert(u64::MAX, Record::found(String::new()));
    assert_eq!(state.checked().unwrap_err(), format!("the number {} is out of range", u64::MAX));
    assert_eq!(State { last: MAX_NUMBER, ..two() }.next_number(), MAX_NUMBER + 1);
}

#[test]
fn words_of_a_state_file_are_what_they_were() {
    let words = [MadeBy::Apply, MadeBy::Refresh, MadeBy::Found];
    assert_eq!(serde_json::to_string(&words).unwrap(), r#"["apply","refresh","found"]"#);
    let read: Vec<MadeBy> = serde_json::from_str(r#"["apply","refresh","found"]"#).unwrap();
    assert!(read == words && words.map(MadeBy::name) == ["apply", "refresh", "found"]);
}
