//! A slow disk and a clock that jumps, for one process: loaded before the C library, it stands in for a few of its calls.
//!
//! What is wrong at the moment stands in a file that `CORACLE_FAULTS` names, which another process writes: three numbers
//! of eight bytes in this machine's order. Nanoseconds that the wall clock is off (with sign), microseconds that each
//! sync to disk takes longer, and the same for each write at a position. Without the file nothing is wrong.
//!
//! The calls behind are made without the C library, which would lead back here.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::os::fd::BorrowedFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use rustix::time::{ClockId, Timespec};

/// What the file holds.
#[repr(C)]
struct Faults {
    clock_nanos: AtomicI64,
    sync_micros: AtomicU64,
    write_micros: AtomicU64,
}

static NONE: Faults =
    Faults { clock_nanos: AtomicI64::new(0), sync_micros: AtomicU64::new(0), write_micros: AtomicU64::new(0) };

/// The file, mapped at the first call.
fn faults() -> &'static Faults {
    static MAPPED: OnceLock<&'static Faults> = OnceLock::new();
    MAPPED.get_or_init(|| map().unwrap_or(&NONE))
}

fn map() -> Option<&'static Faults> {
    use rustix::mm::{MapFlags, ProtFlags, mmap};
    let file = std::fs::File::open(std::env::var_os("CORACLE_FAULTS")?).ok()?;
    let length = size_of::<Faults>();
    // Beyond its end a mapping kills whoever looks.
    if file.metadata().ok()?.len() < length as u64 {
        return None;
    }
    // SAFETY: a new mapping, at an address that the kernel chooses; it is never taken away. Others may write to the file,
    // and all reads are of atomics, aligned since mappings begin at a page.
    unsafe {
        let address = mmap(std::ptr::null_mut(), length, ProtFlags::READ, MapFlags::SHARED, &file, 0).ok()?;
        address.cast::<Faults>().as_ref()
    }
}

fn pause(micros: &AtomicU64) {
    let micros = micros.load(Ordering::Relaxed);
    if micros > 0 {
        std::thread::sleep(Duration::from_micros(micros));
    }
}

/// The C library's way to answer.
fn answer(outcome: Result<(), Errno>) -> c_int {
    match outcome {
        Ok(()) => 0,
        Err(error) => {
            set_errno(error);
            -1
        }
    }
}

fn set_errno(error: Errno) {
    unsafe extern "C" {
        fn __errno_location() -> *mut c_int;
    }
    // SAFETY: the C library's own place for it, one a thread.
    unsafe { *__errno_location() = error.raw_os_error() };
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fdatasync(file: c_int) -> c_int {
    pause(&faults().sync_micros);
    // SAFETY: the caller's descriptor, open for as long as the call.
    answer(rustix::fs::fdatasync(unsafe { BorrowedFd::borrow_raw(file) }))
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fsync(file: c_int) -> c_int {
    pause(&faults().sync_micros);
    // SAFETY: the caller's descriptor, open for as long as the call.
    answer(rustix::fs::fsync(unsafe { BorrowedFd::borrow_raw(file) }))
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite64(file: c_int, data: *const c_void, length: usize, offset: i64) -> isize {
    pause(&faults().write_micros);
    // SAFETY: the caller says so.
    let (file, data) = unsafe { (BorrowedFd::borrow_raw(file), std::slice::from_raw_parts(data.cast::<u8>(), length)) };
    match rustix::io::pwrite(file, data, offset.cast_unsigned()) {
        Ok(written) => written.cast_signed(),
        Err(error) => {
            set_errno(error);
            -1
        }
    }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: c_int, out: *mut Timespec) -> c_int {
    let Some(known) = known(clock) else {
        set_errno(Errno::INVAL);
        return -1;
    };
    let mut time = rustix::time::clock_gettime(known);
    if matches!(known, ClockId::Realtime | ClockId::RealtimeCoarse) {
        time = shifted(time);
    }
    // SAFETY: the caller gives a place for it.
    unsafe { *out = time };
    0
}

/// Those that programs use.
fn known(clock: c_int) -> Option<ClockId> {
    use ClockId::{Boottime, Monotonic, MonotonicCoarse, MonotonicRaw, ProcessCPUTime, Realtime, RealtimeCoarse};
    let all = [
        Realtime,
        Monotonic,
        ProcessCPUTime,
        ClockId::ThreadCPUTime,
        MonotonicRaw,
        RealtimeCoarse,
        MonotonicCoarse,
        Boottime,
    ];
    all.into_iter().find(|id| *id as c_int == clock)
}

fn shifted(time: Timespec) -> Timespec {
    const SECOND: i128 = 1_000_000_000;
    let off = i128::from(faults().clock_nanos.load(Ordering::Relaxed));
    let nanos = i128::from(time.tv_sec) * SECOND + i128::from(time.tv_nsec) + off;
    let second = i64::try_from(nanos.div_euclid(SECOND)).unwrap_or(time.tv_sec);
    // Below a second, so it fits.
    Timespec { tv_sec: second, tv_nsec: nanos.rem_euclid(SECOND) as _ }
}
