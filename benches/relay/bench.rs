//! Measures the programs in turns, for each row of a table.

use std::{
    io::{IsTerminal, Write, stderr},
    time::{Duration, Instant},
};

use crate::{
    cores,
    link::Transport,
    options::Options,
    plan::{Mode, Pace, Plan},
    program::Program,
    report::{Series, Sheet, each, note},
    requests,
    server::{Place, Server},
    tables::{Subject, Table},
    traffic::{self, Outcome},
};

/// See the module's header.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) programs: Vec<Program>,
    rounds: usize,
    cores: Vec<usize>,
    progress: Progress,
    /// The failures of this project's own programs.
    pub(crate) failures: Vec<String>,
    /// How much of the machine other programs used, in cores.
    others: Vec<f64>,
}

impl Bench {
    pub(crate) fn new(programs: Vec<Program>, rounds: usize, tables: &[Table]) -> anyhow::Result<Self> {
        let cores = cores::allowed()?;
        let steps = tables.iter().map(|table| match table.subject {
            Subject::Workers => 2 * table.rows.len(),
            _ => table.rows.len().max(1),
        });
        let progress = Progress::new(steps.sum::<usize>() * rounds * programs.len());
        Ok(Self { programs, rounds, cores, progress, failures: Vec::new(), others: Vec::new() })
    }

    /// The cores of the server and those of the load.
    fn halves(&self) -> (usize, usize) {
        (self.cores[0], *self.cores.get(1).unwrap_or(&self.cores[0]))
    }

    pub(crate) fn conditions(&self) -> String {
        let (server, load) = self.halves();
        let alone = if server == load { ", which disturb each other" } else { "" };
        format!("server on core {server}, load on core {load}{alone}")
    }

    /// How much other programs have used since the last call.
    pub(crate) fn others(&mut self) -> f64 {
        let all = std::mem::take(&mut self.others);
        all.iter().sum::<f64>() / all.len().max(1) as f64
    }

    pub(crate) fn table(&mut self, table: &Table, options: &Options) -> anyhow::Result<String> {
        match table.subject {
            Subject::Alloc => self.allocations(options.allocations),
            Subject::Flood => self.flood(options.requests),
            Subject::Workers => self.workers(&table.rows),
            _ => self.traffic(table),
        }
    }

    /// Measures every program in every round; each round begins with another one. A program is not asked again for what
    /// it cannot do.
    fn measure<T>(
        &mut self,
        label: &str,
        place: impl Fn() -> anyhow::Result<Place>,
        mut once: impl FnMut(&Server) -> anyhow::Result<T>,
    ) -> anyhow::Result<Vec<Series<T>>> {
        cores::pin(&[self.halves().1])?;
        let mut results: Vec<Series<T>> = self.programs.iter().map(|_| Ok(Vec::new())).collect();
        for round in 0..self.rounds {
            for turn in 0..self.programs.len() {
                let index = (round + turn) % self.programs.len();
                let program = &self.programs[index];
                self.progress.step(&format!("{label}: round {} of {}, {}", round + 1, self.rounds, program.name));
                let Ok(rounds) = &mut results[index] else {
                    continue;
                };
                let outcome = program.start(place()?).and_then(|server| {
                    let noise = Noise::begin(&server)?;
                    let outcome = once(&server)?;
                    self.others.push(noise.end(&server)?);
                    Ok(outcome)
                });
                match outcome {
                    Ok(outcome) => rounds.push(outcome),
                    Err(error) => {
                        if program.is_ours() {
                            self.failures.push(format!("{}, {label}: {error:#}", program.name));
                        }
                        results[index] = Err(format!("{error:#}"));
                    }
                }
            }
        }
        Ok(results)
    }

    fn names(&self) -> Vec<String> {
        self.programs.iter().map(|program| program.name.clone()).collect()
    }

    fn traffic(&mut self, table: &Table) -> anyhow::Result<String> {
        let names = self.names();
        let by_the_clock = table.rows.iter().any(|plan| plan.pace != Pace::Loop);
        let mut notes = Vec::new();
        if by_the_clock {
            notes.extend(names.iter().map(|name| format!("p50, p99: {name}")));
        }
        notes.extend(["packets/s", "busy", "loss"].map(str::to_owned));
        let mut sheet = Sheet::new("", &names, &notes);
        let server = self.halves().0;
        for plan in &table.rows {
            let label = plan.label();
            let tls = plan.transport == Transport::Tls;
            let outcomes =
                self.measure(&label, || Place::new(&[server], 1, tls), |server| traffic::run(plan, server))?;
            let mut notes = Vec::new();
            if by_the_clock {
                notes.extend(outcomes.iter().map(|outcome| delays(std::slice::from_ref(outcome))));
            }
            notes.extend([
                note(&each(&outcomes, |outcome| outcome.packets_per_second), |rate| format!("{rate:.0}")),
                note(&each(&outcomes, |outcome| outcome.utilisation * 100.0), |busy| format!("{busy:.0} %")),
                note(&each(&outcomes, |outcome| outcome.loss * 100.0), |loss| format!("{loss:.2} %")),
            ]);
            sheet.row(&label, &each(&outcomes, |outcome| outcome.micros_per_packet), 2, &notes);
        }
        Ok(sheet.text())
    }

    /// The ratio compares two workers with one.
    fn workers(&mut self, rows: &[Plan]) -> anyhow::Result<String> {
        let names = ["two workers", "one"].map(str::to_owned);
        let mut sheet = Sheet::new("", &names, &["packets/s of two".to_owned(), "of one".to_owned()]);
        let cores: Vec<_> = self.cores.iter().copied().take(2).collect();
        if cores.len() < 2 {
            return Ok("Not measured: there is one core only.".to_owned());
        }
        // A third core belongs to the load. Without one, the load shares a core, and sleeps while nothing comes.
        let shared = self.cores.len() < 3;
        let load = self.cores.get(2).copied().unwrap_or(cores[1]);
        for plan in rows {
            let plan = Plan { sleeps: shared, ..plan.clone() };
            let what = if plan.mode == Mode::Pair { "both ends here" } else { "the peer elsewhere" };
            let mut measure = |workers| {
                self.measure(
                    &format!("{what}, {workers} workers"),
                    || Place::new(&cores, workers, false),
                    |server| {
                        cores::pin(&[load])?;
                        traffic::run(&plan, server)
                    },
                )
            };
            let (two, one) = (measure(2)?, measure(1)?);
            for ((program, two), one) in self.programs.iter().zip(two).zip(one) {
                let both = [two, one];
                let rate = |index: usize| {
                    note(&each(&both[index..], |outcome: &Outcome| outcome.packets_per_second), |rate| {
                        format!("{rate:.0}")
                    })
                };
                let figures = each(&both, |outcome| outcome.micros_per_packet);
                sheet.row(&format!("{}, {what}", program.name), &figures, 2, &[rate(0), rate(1)]);
            }
        }
        let how = if shared { "Load and second worker shared a core" } else { "The load had a core of its own" };
        Ok(format!("{}\n\n{how}.", sheet.text()))
    }

    fn allocations(&mut self, count: usize) -> anyhow::Result<String> {
        let server = self.halves().0;
        let costs = self.measure(
            "allocations",
            || Place::new(&[server], 1, false),
            |server| requests::allocations(server, count),
        )?;
        let mut sheet = Sheet::new("", &self.names(), &[]);
        sheet.row("one allocation, challenge included: CPU in µs", &each(&costs, |cost| cost.micros), 1, &[]);
        sheet.row("one allocation held: resident bytes", &each(&costs, |cost| cost.bytes), 0, &[]);
        Ok(sheet.text())
    }

    fn flood(&mut self, count: usize) -> anyhow::Result<String> {
        let server = self.halves().0;
        let costs =
            self.measure("flood", || Place::new(&[server], 1, false), |server| requests::flood(server, count))?;
        let mut sheet = Sheet::new("", &self.names(), &["unanswered".to_owned()]);
        let unanswered = note(&each(&costs, |cost| cost.unanswered * 100.0), |share| format!("{share:.2} %"));
        sheet.row("one that is answered: CPU in µs", &each(&costs, |cost| cost.micros), 2, &[unanswered]);
        let label = "left by them: resident bytes per source address and port";
        sheet.row(label, &each(&costs, |cost| cost.bytes_per_source), 0, &["".to_owned()]);
        Ok(sheet.text())
    }
}

/// The median delay and the delay of slow packets of one program.
fn delays(outcome: &[Series<Outcome>]) -> String {
    let show = |millis| format!("{millis:.2}");
    let median = note(&each(outcome, |outcome| outcome.median_millis), show);
    let slow = note(&each(outcome, |outcome| outcome.slow_millis), show);
    format!("{median}, {slow} ms")
}

/// What the machine does besides server and load.
struct Noise {
    began: Instant,
    everybody: Duration,
    ours: Duration,
}

impl Noise {
    fn begin(server: &Server) -> anyhow::Result<Self> {
        let ours = server.cpu()? + cores::run_time(std::process::id())?;
        Ok(Self { began: Instant::now(), everybody: cores::everybodys()?, ours })
    }

    /// Returns the result in cores.
    fn end(self, server: &Server) -> anyhow::Result<f64> {
        let ours = server.cpu()? + cores::run_time(std::process::id())? - self.ours;
        let others = (cores::everybodys()? - self.everybody).saturating_sub(ours);
        Ok(others.as_secs_f64() / self.began.elapsed().as_secs_f64())
    }
}

/// Reports the progress on standard error.
#[derive(Debug)]
struct Progress {
    steps: usize,
    done: usize,
    began: Instant,
}

impl Progress {
    fn new(steps: usize) -> Self {
        Self { steps, done: 0, began: Instant::now() }
    }

    fn step(&mut self, what: &str) {
        let left = match u32::try_from(self.done) {
            Ok(done) if done > 0 => {
                let seconds = (self.began.elapsed() / done).as_secs_f64() * (self.steps - self.done) as f64;
                format!(", {:.0} min {:02.0} s left", (seconds / 60.0).floor(), seconds % 60.0)
            }
            _ => String::new(),
        };
        self.done += 1;
        let (front, end) = if stderr().is_terminal() { ("\r\x1b[K", "") } else { ("", "\n") };
        eprint!("{front}[{} of {}{left}] {what}{end}", self.done, self.steps);
        // This output is only for people, so errors are ignored.
        let _ = stderr().flush();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if stderr().is_terminal() {
            eprintln!();
        }
    }
}
