//! `kill -9` of a run at a random moment. Then what is in force is what was before it or what it was to bring, and once the
//! next command has run, the records say which.

use std::fs;
use std::time::Duration;

use super::Sequence;
use crate::names;
use crate::rules::{Apply, Model, Number, Read};

/// What is killed.
#[derive(Clone, Copy, Debug)]
pub enum Victim {
    Apply(Apply),
    Refresh,
    Confirm,
    /// So many generations before the newest; `None`: to the last other policy.
    Rollback(Option<u8>),
}

impl Victim {
    fn line(self, server: &str, to: Option<Number>) -> String {
        match self {
            Self::Apply(how) => how.line(server),
            Self::Refresh => format!("refresh policy.yaml --server {server}"),
            Self::Confirm => "confirm".to_owned(),
            Self::Rollback(_) => to.map_or_else(|| "rollback".to_owned(), |to| format!("rollback {to}")),
        }
    }

    /// What it does if it is not killed; `None` where the lockfiles show that it did not.
    fn whole(self, model: &Model, to: Option<Number>, read: &Read) -> Option<Model> {
        let mut after = model.clone();
        match self {
            Self::Apply(how) => drop(after.apply(how, read).ok()?),
            Self::Refresh => drop(after.refresh(read).ok()?),
            Self::Confirm => drop(after.confirm()),
            Self::Rollback(_) => drop(after.rollback(to, None, false, false)),
        }
        Some(after)
    }
}

impl Sequence {
    /// Kills a run, and compares what is left with all that may be left.
    ///
    /// # Errors
    /// It is none of that.
    pub(super) fn kill(&mut self, victim: Victim, delay: Duration) -> Result<(), String> {
        let to = match victim {
            Victim::Rollback(back) => back.map(|back| self.model.last.saturating_sub(back.into())),
            _ => None,
        };
        let lockfile = || fs::read(self.world.path("policy.lock.yaml")).ok();
        let written = lockfile();
        let line = self.with_message(&victim.line(&self.world.server(), to));
        self.world.edgeward_killed(&line, &self.model.who, delay);
        let (read, is_written) = (self.world.lockfiles(), lockfile() != written);
        let mut whole = self.with_zone(|model| victim.whole(model, to, &read));
        whole.iter_mut().for_each(|whole| whole.zone = self.model.zone.clone());
        if let Some(new) = whole.as_ref().and_then(|whole| whole.generations.get(&(self.model.last + 1))) {
            self.applied.extend(new.inputs());
        }
        // Nothing has to be recovered by hand.
        let next = self.edgeward("confirm");
        self.may_have_leftovers = true;
        let told = self.told;
        let mut failures = Vec::new();
        for mut outcome in outcomes(&self.model, whole.as_ref(), to, is_written) {
            let code = outcome.confirm();
            self.model = outcome;
            self.told = told;
            match next.clone().ends(code).and_then(|()| self.compare()) {
                Ok(()) => return Ok(()),
                Err(failure) => failures.push(failure),
            }
        }
        Err(format!("after `{line}` was killed, nothing fits:\n{}", failures.join("\n\n")))
    }
}

/// What may be left of a run: all of it, nothing, or what every run begins with; and the next run may have to find out.
fn outcomes(before: &Model, whole: Option<&Model>, to: Option<Number>, is_written: bool) -> Vec<Model> {
    let mut recovered = before.clone();
    recovered.recover(true);
    // Its pending change was being undone: the next run does that.
    let mut expired = recovered.clone();
    expired.expire();
    let mut parts = vec![before.clone(), recovered.clone(), expired];
    // It was interrupted before it took effect: the change to a new generation, to an older one, or to a later deadline.
    let older = to.or_else(|| recovered.previous());
    for target in [Some(recovered.last + 1), older, recovered.current].into_iter().flatten() {
        let mut interrupted = recovered.clone();
        interrupted.last = interrupted.last.max(target);
        interrupted.interrupt(Some(target));
        parts.push(interrupted);
    }
    let Some(whole) = whole else { return parts };
    for part in &mut parts {
        if is_written {
            part.disk.lock = whole.disk.lock.clone();
        }
        for (number, generation) in &mut part.generations {
            if let Some(other) = whole.generations.get(number) {
                generation.lock = names::possibly(&generation.lock, &other.lock);
            }
        }
    }
    let mut interrupted = whole.clone();
    interrupted.interrupt(whole.current);
    [whole.clone(), interrupted].into_iter().chain(parts).collect()
}
