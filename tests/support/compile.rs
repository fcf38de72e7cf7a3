//! The way from a policy to its ruleset, without files.

use edgeward::catalog::Catalog;
use edgeward::diag::{Problems, Severity};
use edgeward::intent::{Intent, Resolved};
use edgeward::policy;
use edgeward::resolution::Resolution;
use edgeward::site::Target;
use edgeward::source::Source;

/// Binds a policy to the answers of a lockfile, as the command line does before it compiles.
///
/// # Errors
///
/// What is wrong with either, a line each.
pub fn resolved(policy: &Source, lock: Option<&Source>, target: Option<Target>) -> Result<Intent<Resolved>, String> {
    let catalog = Catalog::embedded().map_err(|error| format!("the catalog: {:?}", error.diagnostics))?;
    let mut problems = Problems::default();
    let intent = policy::parse(policy, &mut problems)
        .and_then(|parsed| policy::check(&parsed, &catalog, target, &mut problems))
        .ok_or_else(|| listed(policy, problems))?;
    let resolution = lock.map_or(Ok(Resolution::default()), |lock| {
        let mut problems = Problems::default();
        Resolution::parse(lock, &mut problems).ok_or_else(|| listed(lock, problems))
    })?;
    intent.bind(&resolution).map_err(|unresolved| unresolved.to_string())
}

fn listed(source: &Source, problems: Problems) -> String {
    let errors = problems.into_sorted().into_iter().filter(|problem| problem.code.severity() == Severity::Error);
    let lines = errors.map(|error| format!("{}:{}: {}", source.name, source.position(error.span.start), error.message));
    lines.collect::<Vec<_>>().join("\n")
}
