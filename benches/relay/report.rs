//! Writes the figures of several rounds as rows of Markdown.

/// The median, the minimum and the maximum of some figures.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    pub(crate) fn of(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        let (low, high) = (figures[(figures.len() - 1) / 2], figures[figures.len() / 2]);
        Self { median: f64::midpoint(low, high), least: figures[0], most: figures[figures.len() - 1] }
    }

    pub(crate) fn show(self, decimals: usize) -> String {
        let Self { median, least, most } = self;
        format!("{median:.decimals$} ({least:.decimals$}–{most:.decimals$})")
    }
}

/// The text by which a refusal is recognized in a reason.
pub(crate) const REFUSED: &str = "is refused";

/// The rounds of one program, or why there are none.
pub(crate) type Series<T> = Result<Vec<T>, String>;

/// Takes one figure from each round.
pub(crate) fn each<T>(series: &[Series<T>], figure: impl Fn(&T) -> f64) -> Vec<Series<f64>> {
    series
        .iter()
        .map(|rounds| rounds.as_ref().map(|rounds| rounds.iter().map(&figure).collect()).map_err(String::clone))
        .collect()
}

/// A table that is filled row by row.
#[derive(Debug)]
pub(crate) struct Sheet {
    lines: Vec<String>,
    /// Remarks below the table: what could not be measured, and why.
    remarks: Vec<String>,
    /// The programs of the columns; empty if the columns are something else.
    names: Vec<String>,
}

impl Sheet {
    /// The columns are the label, one for each of `names`, the ratios of the first of them to each of the others, and
    /// `notes`.
    pub(crate) fn new(about: &str, names: &[String], notes: &[String]) -> Self {
        let mut heads = vec![about.to_owned()];
        heads.extend_from_slice(names);
        heads.extend(names.iter().skip(1).map(|_| "ratio".to_owned()));
        heads.extend_from_slice(notes);
        let lines = vec![format!("| {} |", heads.join(" | ")), format!("|{}", "---|".repeat(heads.len()))];
        Self { lines, remarks: Vec::new(), names: names.to_vec() }
    }

    /// Adds a row. The first program's figures are divided by those of each other program from the same round.
    pub(crate) fn row(&mut self, label: &str, figures: &[Series<f64>], decimals: usize, notes: &[String]) {
        let mut cells = vec![label.to_owned()];
        for (name, rounds) in self.names.iter().zip(figures) {
            cells.push(match rounds {
                Ok(rounds) => Spread::of(rounds.clone()).show(decimals),
                Err(why) => {
                    self.remarks.push(format!("{name}, {label}: {why}."));
                    if why.contains(REFUSED) { "refused".to_owned() } else { "failed".to_owned() }
                }
            });
        }
        for other in figures.iter().skip(1) {
            cells.push(match (&figures[0], other) {
                (Ok(own), Ok(other)) => {
                    Spread::of(own.iter().zip(other).map(|(own, other)| own / other).collect()).show(2)
                }
                _ => "–".to_owned(),
            });
        }
        cells.extend_from_slice(notes);
        self.lines.push(format!("| {} |", cells.join(" | ")));
    }

    pub(crate) fn text(&self) -> String {
        let mut text = self.lines.join("\n");
        if !self.remarks.is_empty() {
            text.push_str("\n\n");
            text.push_str(&self.remarks.join("\n"));
        }
        text
    }
}

/// The first program's median of a note; empty if that program failed.
pub(crate) fn note(figures: &[Series<f64>], show: impl Fn(f64) -> String) -> String {
    match figures.first() {
        Some(Ok(rounds)) => show(Spread::of(rounds.clone()).median),
        _ => "–".to_owned(),
    }
}
