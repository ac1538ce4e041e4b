//! A run on a thread of its own. A port belongs to the thread that opened it, and a caller such as
//! an interpreter wants to look at signals and draw progress without slowing the measurement.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::error::Error;
use crate::plan::Plan;
use crate::report::Report;
use crate::run::{Phase, Progress, Run};

/// How often the thread reports its progress and checks whether it should stop.
const STEP: Duration = Duration::from_millis(50);

/// A run in progress on its own thread. Dropping it stops the run at once and waits for the thread.
#[derive(Debug)]
pub struct BackgroundRun {
    news: Arc<News>,
    thread: Mutex<Option<JoinHandle<Result<Report, Error>>>>,
}

#[derive(Debug)]
struct News {
    state: Mutex<State>,
    changed: Condvar,
    stops: AtomicU32,
    is_report_wanted: AtomicBool,
}

#[derive(Debug)]
struct State {
    progress: Progress,
    /// The result so far, when it was wanted.
    report: Option<Report>,
    is_over: bool,
}

impl BackgroundRun {
    /// Start `plan` on a new thread. Errors that prevent the start are reported here.
    pub fn start(plan: Plan) -> Result<Self, Error> {
        let (tell, told) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("load".to_owned())
            .spawn(move || {
                let run = Run::new(plan)?;
                let news = Arc::new(News {
                    state: Mutex::new(State {
                        progress: run.progress(),
                        report: None,
                        is_over: false,
                    }),
                    changed: Condvar::new(),
                    stops: AtomicU32::new(0),
                    is_report_wanted: AtomicBool::new(false),
                });
                // A starter that has gone does not want the run any more.
                if tell.send(Arc::clone(&news)).is_err() {
                    return Ok(run.finish());
                }
                drop(tell);
                let result = work(run, &news);
                news.lock().is_over = true;
                news.changed.notify_all();
                result
            });
        let thread = thread.map_err(Error::system("starting the load thread"))?;
        Self::begun(thread, &told)
    }

    fn begun(
        thread: JoinHandle<Result<Report, Error>>,
        told: &Receiver<Arc<News>>,
    ) -> Result<Self, Error> {
        match told.recv() {
            Ok(news) => Ok(Self {
                news,
                thread: Mutex::new(Some(thread)),
            }),
            Err(_) => match join(thread) {
                Err(error) => Err(error),
                Ok(_) => unreachable!("a run that began tells so"),
            },
        }
    }

    /// Wait until the run is over, but no longer than `max_wait`; how far it has come.
    pub fn step(&self, max_wait: Duration) -> Progress {
        let wait = self
            .news
            .changed
            .wait_timeout_while(self.news.lock(), max_wait, |state| !state.is_over);
        wait.unwrap_or_else(PoisonError::into_inner).0.progress
    }

    /// The result of what was done so far; `None` when the run is over.
    pub fn so_far(&self) -> Option<Report> {
        self.news.is_report_wanted.store(true, Ordering::Relaxed);
        let wait = self.news.changed.wait_while(self.news.lock(), |state| {
            state.report.is_none() && !state.is_over
        });
        let mut state = wait.unwrap_or_else(PoisonError::into_inner);
        let report = state.report.take();
        report.filter(|_| !state.is_over)
    }

    /// Whether the thread is through, by reaching the end or by an error that
    /// [`BackgroundRun::finish`] tells.
    pub fn is_over(&self) -> bool {
        self.news.lock().is_over
    }

    /// See [`Run::stop`].
    pub fn stop(&self) {
        self.news.stops.fetch_add(1, Ordering::Relaxed);
    }

    /// Wait for the end, and give the result; `None` when somebody has got it already.
    pub fn finish(&self) -> Result<Option<Report>, Error> {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        thread.take().map(join).transpose()
    }
}

impl Drop for BackgroundRun {
    fn drop(&mut self) {
        let thread = self.thread.get_mut();
        if let Some(thread) = thread.unwrap_or_else(PoisonError::into_inner).take() {
            self.news.stops.fetch_add(2, Ordering::Relaxed);
            // Its result is not wanted; a panic in it was printed.
            let _ = thread.join();
        }
    }
}

impl News {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn work(mut run: Run, news: &News) -> Result<Report, Error> {
    let mut stops = 0;
    loop {
        let progress = run.step(STEP)?;
        news.lock().progress = progress;
        if progress.phase == Phase::Done {
            return Ok(run.finish());
        }
        if news.is_report_wanted.swap(false, Ordering::Relaxed) {
            news.lock().report = Some(run.so_far());
            news.changed.notify_all();
        }
        let asked = news.stops.load(Ordering::Relaxed);
        while stops < asked {
            stops += 1;
            run.stop();
        }
    }
}

fn join(thread: JoinHandle<Result<Report, Error>>) -> Result<Report, Error> {
    match thread.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
