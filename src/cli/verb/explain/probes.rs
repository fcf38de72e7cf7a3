//! A file of packets, each with the verdict that is expected.

use std::path::Path;

use super::{Explainer, Explanation};
use crate::cli::context::{ListFormat, at_least};
use crate::cli::document::{ExpectedDocument, ExplainDocument, ProbeDocument, ProbesDocument};
use crate::cli::failure::Failure;
use crate::cli::{hint, render};
use crate::diag::{Code, Problems, Severity, did_you_mean};
use crate::host::streams;
use crate::net::Verdict;
use crate::probe::{ProbeFile, ProbeRow};
use crate::report::DocumentVersion;
use crate::source::Spanned;
use crate::wording::count;

impl<'a> Explainer<'a> {
    /// Checks all packets of a file, and prints a line for each.
    pub(super) fn probes(&self, path: &Path, format: ListFormat) -> Result<(), Failure> {
        let source = streams::read(path)?;
        let mut problems = Problems::default();
        let file = ProbeFile::parse(&source, &mut problems);
        let rows = file.map(|file| file.probes).unwrap_or_default();
        let probes = self.explain_all(&rows, &mut problems);
        if problems.has_errors() {
            return Err(Failure::invalid(source, at_least(Severity::Error, problems)));
        }
        let failed = probes.iter().filter(|(row, explanation)| !is_as_expected(row, explanation)).count();
        render::output(&match format {
            ListFormat::Text => {
                let lines: String = probes.iter().map(|(row, explanation)| self.probe_text(row, explanation)).collect();
                format!("{lines}{}, {failed} not as expected\n", count(probes.len(), "probe"))
            }
            ListFormat::Json => {
                let probes = probes.iter().map(|(row, explanation)| self.probe_document(row, explanation)).collect();
                let document = ProbesDocument { version: DocumentVersion, probes, failed };
                render::document(&ExplainDocument::Probes(document))?
            }
        })?;
        if failed == 0 { Ok(()) } else { Err(Failure::different()) }
    }

    fn explain_all<'b>(
        &self,
        rows: &'b [Spanned<ProbeRow>],
        problems: &mut Problems,
    ) -> Vec<(&'b ProbeRow, Explanation<'a>)> {
        let mut explanations = Vec::new();
        for row in rows {
            self.check_flow(row, problems);
            match self.packet(&row.value.probe()) {
                Ok(packet) => explanations.push((&row.value, self.explain(packet))),
                Err(error) => problems.push(Code::InvalidProbe, row.span, error),
            }
        }
        explanations
    }

    /// Reports a probe that no ruleset can satisfy, or that names a flow which the policy does not have.
    fn check_flow(&self, row: &Spanned<ProbeRow>, problems: &mut Problems) {
        let Some(flow) = &row.value.flow else { return };
        if row.value.expect != Verdict::Accept {
            let message = format!(
                "packets of a flow are accepted, so `expect: {}` contradicts `flow: {flow}`",
                row.value.expect.name()
            );
            problems.push(Code::InvalidProbe, row.span, message);
        }
        let flows = || self.loaded.intent.flows.iter().map(|flow| flow.id.as_str());
        if !flows().any(|known| known == flow) {
            let message = format!("the policy has no flow `{flow}`");
            let help = did_you_mean(flow, flows())
                .unwrap_or_else(|| format!("`{}` lists the flows", hint::command("flows").policy(&self.loaded.path)));
            problems.push_with_help(Code::InvalidProbe, row.span, message, help);
        }
    }

    fn probe_text(&self, row: &ProbeRow, explanation: &Explanation<'_>) -> String {
        let found = verdict_by(explanation.trace.disposition.verdict.name(), explanation.flow());
        let note = row.note.as_ref().map(|note| format!("  # {note}")).unwrap_or_default();
        let packet = &explanation.packet;
        if is_as_expected(row, explanation) {
            return format!("ok    {found}: {packet}{note}\n");
        }
        let expected = verdict_by(row.expect.name(), row.flow.as_deref());
        let fail = render::red("FAIL");
        let head = format!("{fail}  expected {expected}, found {found}: {packet}{note}\n");
        let reasons = self.reasons(explanation).into_iter();
        reasons.fold(head, |text, reason| text + &format!("        {:<12}  {}\n", reason.about.kind(), reason.text))
    }

    fn probe_document<'b>(&self, row: &'b ProbeRow, explanation: &'b Explanation<'_>) -> ProbeDocument<'b> {
        ProbeDocument {
            explanation: self.document(explanation),
            expected: ExpectedDocument { verdict: row.expect.name(), flow: row.flow.as_deref() },
            as_expected: is_as_expected(row, explanation),
        }
    }
}

fn is_as_expected(row: &ProbeRow, explanation: &Explanation<'_>) -> bool {
    row.expect == explanation.trace.disposition.verdict
        && row.flow.as_deref().is_none_or(|expected| explanation.flow() == Some(expected))
}

/// `accept by kubelet`.
fn verdict_by(verdict: &str, flow: Option<&str>) -> String {
    flow.map_or_else(|| verdict.to_owned(), |flow| format!("{verdict} by {flow}"))
}
