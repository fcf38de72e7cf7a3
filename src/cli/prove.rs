//! The proof that a text decides what a policy means.

use anyhow::anyhow;

use crate::cli::failure::{Check, Failure};
use crate::intent::{Intent, Resolved};
use crate::proof::prove;
use crate::readback;
use crate::source::Source;

/// Reads a ruleset back, and proves that it decides what the policy means.
pub(crate) fn prove_text(intent: &Intent<Resolved>, text: &Source) -> Result<(), Failure> {
    let ruleset = readback::read(text).map_err(|diagnostic| {
        let help = anyhow!("the ruleset cannot be read back: this is a bug in edgeward; please report it");
        Failure::invalid(text.clone(), vec![*diagnostic]).and(Failure::refused(Check::Proof, help))
    })?;
    prove(intent, &ruleset).map_err(|difference| {
        Failure::refused(Check::Proof, anyhow!(
            "the ruleset does not decide what the policy means\n{difference}\nthis is a bug in edgeward, and nothing \
             was written; please report it with the policy"
        ))
    })
}
