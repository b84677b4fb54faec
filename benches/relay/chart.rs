//! docs/benchmarks.svg: the tables of docs/BENCHMARKS.md as bars. The figures are read from the document, so that both
//! say the same.

use std::fmt::Write;

use crate::document::part;

/// The parts that are shown, each with its heading. Each row has its own scale, so the longest bars of all rows have
/// the same length.
const SECTIONS: [(&str, &str); 7] = [
    ("relay", "Relayed to a UDP peer: CPU in µs per packet"),
    ("pair", "Both ends here: CPU in µs per packet"),
    ("send", "Send and Data indications: CPU in µs per packet"),
    ("paced", "By the clock: CPU in µs per packet"),
    ("call", "Sizes and gaps of a browser's call: CPU in µs per packet"),
    ("streams", "Clients over TCP and TLS: CPU in µs per packet"),
    ("alloc", "Allocations"),
];

const WIDTH: usize = 860;
/// The place where labels end and bars begin.
const LABELS: usize = 350;
const LONGEST_BAR: usize = 400;
const BAR: usize = 12;
const GAP: usize = 8;
const HEADING: usize = 30;
const TOP: usize = 12;

/// Colors that can be distinguished on white and on black, also by people with color blindness.
const COLORS: [&str; 4] = ["#0072b2", "#e69f00", "#009e73", "#cc79a7"];

const STYLE: &str = "<style>\
    .paper{fill:#fff}text{fill:#1f2328}.grey{fill:#59636e}\
    @media(prefers-color-scheme:dark){.paper{fill:#0d1117}text{fill:#f0f6fc}.grey{fill:#9198a1}}\
    </style>\n";

/// The column names of a table, and its rows. Each row has its label and, for each column, the median as it is written,
/// if there is one.
struct Rows {
    names: Vec<String>,
    rows: Vec<(String, Vec<String>)>,
}

/// The chart of a document.
pub(crate) fn draw(document: &str) -> String {
    let mut body = String::new();
    let mut y = TOP;
    for (key, heading) in SECTIONS {
        let rows = part(document, key).and_then(|place| rows_of(&document[place]));
        if let Some(rows) = rows {
            section(&mut body, &mut y, heading, &rows);
        }
    }
    let height = y + TOP;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<title>What relaying costs, beside other TURN servers: shorter is cheaper; each row has a scale of \
         its own</title>\n{STYLE}<rect class=\"paper\" width=\"{WIDTH}\" height=\"{height}\"/>\n{body}</svg>\n"
    )
}

fn section(body: &mut String, y: &mut usize, heading: &str, rows: &Rows) {
    // Writing to a string never fails.
    let _ = writeln!(body, "<text x=\"12\" y=\"{}\" font-weight=\"bold\">{}</text>", *y + 18, escaped(heading));
    let mut x = LABELS + 12;
    for (name, color) in rows.names.iter().zip(COLORS) {
        let _ = writeln!(
            body,
            "<rect x=\"{x}\" y=\"{}\" width=\"10\" height=\"10\" fill=\"{color}\"/><text x=\"{}\" y=\"{}\">{}</text>",
            *y + 9,
            x + 15,
            *y + 18,
            escaped(name)
        );
        x += 40 + 7 * name.chars().count();
    }
    *y += HEADING;
    for (label, figures) in &rows.rows {
        let most = figures.iter().filter_map(|figure| value(figure)).fold(0.0, f64::max);
        let middle = *y + figures.len() * BAR / 2 + 4;
        let _ = writeln!(body, "<text x=\"{LABELS}\" y=\"{middle}\" text-anchor=\"end\">{}</text>", escaped(label));
        for (figure, color) in figures.iter().zip(COLORS) {
            let length = value(figure).map_or(0.0, |figure| LONGEST_BAR as f64 * figure.max(0.0) / most);
            let _ = writeln!(
                body,
                "<rect x=\"{}\" y=\"{y}\" width=\"{length:.0}\" height=\"{}\" fill=\"{color}\"/>\
                 <text class=\"grey\" x=\"{:.0}\" y=\"{}\" font-size=\"10\">{}</text>",
                LABELS + 12,
                BAR - 2,
                (LABELS + 17) as f64 + length,
                *y + 9,
                escaped(figure)
            );
            *y += BAR;
        }
        *y += GAP;
    }
}

/// The rows of the first table in the text. `None` if it has no table with a figure.
fn rows_of(text: &str) -> Option<Rows> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let heads = cells(lines.next()?);
    // Figures end where ratios and notes begin. If there is only one program, they end behind it.
    let count = heads.iter().position(|head| head == "ratio").unwrap_or(2) - 1;
    let rows = lines.skip(1).map(|line| {
        let cells = cells(line);
        let medians = cells.iter().skip(1).take(count).filter_map(|cell| cell.split_whitespace().next());
        (cells[0].clone(), medians.map(str::to_owned).collect::<Vec<_>>())
    });
    let rows: Vec<_> = rows
        .filter(|(_, figures)| figures.iter().filter_map(|figure| value(figure)).any(|figure| figure > 0.0))
        .collect();
    (!rows.is_empty()).then(|| Rows { names: heads[1..=count].to_vec(), rows })
}

/// `None` if the measurement was refused.
fn value(figure: &str) -> Option<f64> {
    figure.parse().ok()
}

fn cells(line: &str) -> Vec<String> {
    line.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
