//! The child that serves: one runtime on one thread, one task per service, one that unlocks the vault.
//!
//! A service that fails is served anew after a pause; the worker itself ends only when it is told to, or when a service
//! cannot even begin.

use std::time::Duration;

use base::fault::Fault;
use server::Budget;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::LocalSet;

use crate::diary;
use crate::fault::SupervisorError;
use crate::harden;
use crate::service::{Endpoint, Service, Serving, Shift};
use crate::signals::Signals;
use crate::unlock;
use crate::watchdog::Duty;
use vault::VaultCell;

/// How long a worker may take to end: what its services take, and a moment.
pub const FAREWELL_OF_ALL: Duration = FAREWELL.saturating_add(Duration::from_millis(500));
/// Exit status of a worker whose services cannot begin; its watchdog does not try again at the first start.
pub const CANNOT_SERVE: u8 = 3;
const BLOCKING_THREADS: usize = 4;
const STACK: usize = 512 * 1024;
/// Between a change of the vault's state and tidying up, so that who waited for it is served first.
const TIDY_AFTER: Duration = Duration::from_secs(1);
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// How long a service may take to finish after the call to stop.
const FAREWELL: Duration = server::GRACE.saturating_add(server::LAST).saturating_add(Duration::from_millis(500));

/// Serves until SIGTERM; the exit status.
pub fn run(duty: &mut Duty, bound: &[Endpoint]) -> u8 {
    Signals::unblock();
    let _ = tracing::subscriber::set_global_default(diary::ToStderr);
    if duty.services.iter().any(|service| service.needs_network_rights())
        && let Err(error) = harden::keep_only_network_rights()
    {
        duty.teller.failed(&SupervisorError::Spawn(error));
        return CANNOT_SERVE;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_keep_alive(Duration::from_secs(1))
        .thread_stack_size(STACK)
        .build();
    let served = match runtime {
        Ok(runtime) => LocalSet::new().block_on(&runtime, serve(duty, bound)),
        Err(error) => Err(SupervisorError::Spawn(error)),
    };
    match served {
        Ok(()) => 0,
        Err(error) => {
            duty.teller.failed(&error);
            CANNOT_SERVE.max(error.exit_code())
        }
    }
}

async fn serve(duty: &mut Duty, bound: &[Endpoint]) -> Result<(), SupervisorError> {
    let mut term = signal(SignalKind::terminate()).map_err(SupervisorError::Spawn)?;
    let (stop, stopped) = watch::channel(false);
    let shift = Shift { vault: VaultCell::new(), budget: Budget::default(), stop: stopped };
    let services = std::mem::take(&mut duty.services);
    let mut tasks = Vec::new();
    for service in services {
        let serving = service.serve(shift.clone())?;
        tasks.push(tokio::task::spawn_local(keep(service, serving, shift.clone())));
    }
    let tidying = tokio::task::spawn_local(tidy(shift.vault.clone()));
    let unlocking = tokio::task::spawn_local(unlock::keep_trying(duty.sidecar.clone(), duty.locked.clone(), shift));
    let served: Vec<String> = bound.iter().map(ToString::to_string).collect();
    duty.teller.ready(&served.join(" "));
    harden::release_memory();

    term.recv().await;
    unlocking.abort();
    tidying.abort();
    let _ = stop.send(true);
    let end = tokio::time::Instant::now() + FAREWELL;
    for task in tasks {
        let _ = tokio::time::timeout_at(end, task).await;
    }
    Ok(())
}

/// Keeps an idle worker small: gives back what a start, an unlocking or a busy minute needed.
async fn tidy(vault: VaultCell) {
    let mut settled = vault.watch();
    loop {
        let _ = tokio::time::timeout(TIDY_EVERY, settled.changed()).await;
        tokio::time::sleep(TIDY_AFTER).await;
        harden::release_memory();
        harden::release_code();
    }
}

/// Serves again and again, with growing pauses, until told to stop.
async fn keep(service: Box<dyn Service>, first: Serving, shift: Shift) {
    let mut next = Ok(first);
    let mut pause = Duration::from_secs(1);
    loop {
        let ended = match next {
            Ok(serving) => tokio::task::spawn_local(serving).await,
            Err(error) => Ok(Err(error)),
        };
        if *shift.stop.borrow() {
            return;
        }
        let why = match ended {
            Ok(Ok(())) => "it ended by itself".to_owned(),
            Ok(Err(error)) => error.one_line(),
            Err(panic) => panic.to_string(),
        };
        let text = format!("the {} failed; next start in {pause:?}: {why}", service.name());
        diary::say("ERROR", "supervisor", &text);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shift.ended() => return,
        }
        pause = (pause * 2).min(Duration::from_secs(60));
        next = service.serve(shift.clone());
    }
}
