//! Executing programs: each execution is noted, because this library may not be loaded into the new
//! program (a static program, one with another C library, or one whose environment was cleared).
//!
//! The call itself is not changed: a program that clears the environment of its children has a
//! reason. Functions that take their arguments one by one (`execl`) cannot be written in Rust. Our
//! versions note the path and jump to the real function, with all registers and the stack
//! unchanged.

use std::ffi::{CStr, c_char, c_int};

use libc::pid_t;

use crate::notes::{self, Kind, PATH_BYTES};
use crate::{clock, processes, real};

type Words = *const *const c_char;
type Execute = unsafe extern "C" fn(*const c_char, Words) -> c_int;
type ExecuteIn = unsafe extern "C" fn(*const c_char, Words, Words) -> c_int;
type ExecuteFile = unsafe extern "C" fn(c_int, Words, Words) -> c_int;
type ExecuteAt = unsafe extern "C" fn(c_int, *const c_char, Words, Words, c_int) -> c_int;
type Spawn = unsafe extern "C" fn(
    *mut pid_t,
    *const c_char,
    *const libc::posix_spawn_file_actions_t,
    *const libc::posix_spawnattr_t,
    Words,
    Words,
) -> c_int;

unsafe extern "C" {
    static environ: Words;
}

/// The environment of a program to which none is passed.
fn own() -> Words {
    // SAFETY: the C library's pointer, read as the functions themselves read it.
    unsafe { environ }
}

/// Whether a program with this environment is watched too.
fn is_watched(environment: Words) -> bool {
    let (mut library, mut folder) = (false, false);
    let mut at = environment;
    if at.is_null() {
        return false;
    }
    // SAFETY: an environment is an array of texts that ends with a null.
    unsafe {
        while !(*at).is_null() {
            let text = CStr::from_ptr(*at).to_bytes();
            library |= text.starts_with(b"LD_PRELOAD=") && ends_with_us(text);
            folder |= text.starts_with(b"VESPIARY_LOCKS=");
            at = at.add(1);
        }
    }
    library && folder
}

fn ends_with_us(text: &[u8]) -> bool {
    let name = b"lockwatch.so";
    text.windows(name.len()).any(|part| part == name)
}

/// Notes an execution by this process, if it is possible.
unsafe fn noted(path: &[u8], environment: Words) -> bool {
    let mut whole = [0_u8; PATH_BYTES];
    let Some(length) = absolute(path, &mut whole) else {
        return false;
    };
    let flags = if is_watched(environment) { "-" } else { "e" };
    notes::note(Kind::Executed, clock::now(), flags, &whole[..length]);
    true
}

/// The path from the root, if it may be executed; a zero is behind it.
fn absolute(path: &[u8], whole: &mut [u8; PATH_BYTES]) -> Option<usize> {
    let mut length = 0;
    if !path.starts_with(b"/") {
        length = notes::link(c"/proc/self/cwd", &mut whole[..PATH_BYTES / 2]);
        whole[length] = b'/';
        length += 1;
    }
    let end = length + path.len();
    whole.get_mut(length..end)?.copy_from_slice(path);
    *whole.get_mut(end)? = 0;
    // SAFETY: the path ends with a zero.
    let may = unsafe { libc::access(whole.as_ptr().cast(), libc::X_OK) } == 0;
    may.then_some(end)
}

/// The file that a name means, as `execvp` looks for it.
unsafe fn searched(name: &[u8], mut found: impl FnMut(&[u8]) -> bool) -> bool {
    if name.contains(&b'/') {
        return found(name);
    }
    // SAFETY: the name ends with a zero; the function that is called next reads it too.
    let path = unsafe { libc::getenv(c"PATH".as_ptr()) };
    let path = if path.is_null() {
        b"/bin:/usr/bin".as_slice()
    } else {
        // SAFETY: an environment's value ends with a zero.
        unsafe { CStr::from_ptr(path) }.to_bytes()
    };
    let mut whole = [0_u8; PATH_BYTES];
    for folder in path.split(|byte| *byte == b':') {
        let length = folder.len() + 1 + name.len();
        if length < whole.len() {
            whole[..folder.len()].copy_from_slice(folder);
            whole[folder.len()] = b'/';
            whole[folder.len() + 1..length].copy_from_slice(name);
            if found(&whole[..length]) {
                return true;
            }
        }
    }
    false
}

unsafe fn bytes<'a>(text: *const c_char) -> &'a [u8] {
    if text.is_null() {
        return b"";
    }
    // SAFETY: the caller's text ends with a zero.
    unsafe { CStr::from_ptr(text) }.to_bytes()
}

/// Calls the real function, with `errno` as before the note. If the call returns, it has failed.
fn call(noted: bool, execute: impl FnOnce() -> c_int) -> c_int {
    let result = execute();
    if noted {
        notes::note(Kind::Failed, clock::now(), "-", b"");
    }
    result
}

/// Calls a function that may change `errno`, and restores it.
pub(crate) fn quietly<T>(act: impl FnOnce() -> T) -> T {
    // SAFETY: the thread's own `errno`.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: the same.
    let before = unsafe { *errno };
    let result = act();
    // SAFETY: the same.
    unsafe { *errno = before };
    result
}

#[unsafe(no_mangle)]
unsafe extern "C" fn execve(path: *const c_char, words: Words, environment: Words) -> c_int {
    // SAFETY: what the caller gave is checked and passed on.
    unsafe {
        let noted = quietly(|| noted(bytes(path), environment));
        call(noted, || {
            real::EXECVE.get::<ExecuteIn>()(path, words, environment)
        })
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn execv(path: *const c_char, words: Words) -> c_int {
    // SAFETY: what the caller gave is checked and passed on.
    unsafe {
        let noted = quietly(|| noted(bytes(path), own()));
        call(noted, || real::EXECV.get::<Execute>()(path, words))
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn execvp(name: *const c_char, words: Words) -> c_int {
    // SAFETY: what the caller gave is checked and passed on.
    unsafe {
        let noted = quietly(|| searched(bytes(name), |path| noted(path, own())));
        call(noted, || real::EXECVP.get::<Execute>()(name, words))
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn execvpe(name: *const c_char, words: Words, environment: Words) -> c_int {
    // SAFETY: what the caller gave is checked and passed on.
    unsafe {
        let noted = quietly(|| searched(bytes(name), |path| noted(path, environment)));
        call(noted, || {
            real::EXECVPE.get::<ExecuteIn>()(name, words, environment)
        })
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fexecve(file: c_int, words: Words, environment: Words) -> c_int {
    // SAFETY: what the caller gave is checked and passed on.
    unsafe {
        let noted = quietly(|| noted_file(file, b"", environment));
        call(noted, || {
            real::FEXECVE.get::<ExecuteFile>()(file, words, environment)
        })
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn execveat(
    folder: c_int,
    path: *const c_char,
    words: Words,
    environment: Words,
    flags: c_int,
) -> c_int {
    // SAFETY: what the caller gave is checked and passed on.
    unsafe {
        let noted = quietly(|| {
            let path = bytes(path);
            if folder == libc::AT_FDCWD || path.starts_with(b"/") {
                noted(path, environment)
            } else {
                noted_file(folder, path, environment)
            }
        });
        call(noted, || {
            real::EXECVEAT.get::<ExecuteAt>()(folder, path, words, environment, flags)
        })
    }
}

/// The same for an open file, or a path from an open folder.
unsafe fn noted_file(file: c_int, path: &[u8], environment: Words) -> bool {
    use std::io::Write as _;
    let mut link = [0_u8; 32];
    if write!(link.as_mut_slice(), "/proc/self/fd/{file}\0").is_err() {
        return false;
    }
    let Ok(link) = CStr::from_bytes_until_nul(&link) else {
        return false;
    };
    let mut whole = [0_u8; PATH_BYTES];
    let mut length = notes::link(link, &mut whole[..PATH_BYTES / 2]);
    if length > 0 && !path.is_empty() && length + path.len() < PATH_BYTES - 2 {
        whole[length] = b'/';
        whole[length + 1..=length + path.len()].copy_from_slice(path);
        length += 1 + path.len();
    }
    // SAFETY: the caller's environment.
    length > 0 && unsafe { noted(&whole[..length], environment) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn posix_spawn(
    pid: *mut pid_t,
    path: *const c_char,
    actions: *const libc::posix_spawn_file_actions_t,
    attributes: *const libc::posix_spawnattr_t,
    words: Words,
    environment: Words,
) -> c_int {
    let began = clock::now();
    let mut child: pid_t = 0;
    // SAFETY: what the caller gave is passed on and looked at; where the child's number goes to is
    // the caller's if it is not null.
    unsafe {
        let spawn = real::SPAWN.get::<Spawn>();
        let result = spawn(
            &raw mut child,
            path,
            actions,
            attributes,
            words,
            environment,
        );
        if result == 0 {
            quietly(|| {
                processes::made(child);
                spawned(child, began, bytes(path), environment);
            });
            if !pid.is_null() {
                *pid = child;
            }
        }
        result
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn posix_spawnp(
    pid: *mut pid_t,
    name: *const c_char,
    actions: *const libc::posix_spawn_file_actions_t,
    attributes: *const libc::posix_spawnattr_t,
    words: Words,
    environment: Words,
) -> c_int {
    let began = clock::now();
    let mut child: pid_t = 0;
    // SAFETY: as above.
    unsafe {
        let spawn = real::SPAWNP.get::<Spawn>();
        let result = spawn(
            &raw mut child,
            name,
            actions,
            attributes,
            words,
            environment,
        );
        if result == 0 {
            quietly(|| {
                processes::made(child);
                searched(bytes(name), |path| spawned(child, began, path, environment));
            });
            if !pid.is_null() {
                *pid = child;
            }
        }
        result
    }
}

/// A child executes a program since `began`; it may have reported itself already.
unsafe fn spawned(child: pid_t, began: u64, path: &[u8], environment: Words) -> bool {
    let mut whole = [0_u8; PATH_BYTES];
    let Some(length) = absolute(path, &mut whole) else {
        return false;
    };
    let flags = if is_watched(environment) { "-" } else { "e" };
    notes::note_of(child as u32, Kind::Executed, began, flags, &whole[..length]);
    true
}

/// Exports a function with arguments one by one: notes its first, and continues in the real one.
macro_rules! export_list {
    ($name:ident => $noted:ident) => {
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name() {
            #[cfg(target_arch = "x86_64")]
            core::arch::naked_asm!(
                "push rdi", "push rsi", "push rdx", "push rcx", "push r8", "push r9", "push rax",
                "call {noted}",
                "mov r11, rax",
                "pop rax", "pop r9", "pop r8", "pop rcx", "pop rdx", "pop rsi", "pop rdi",
                "jmp r11",
                noted = sym $noted
            );
            #[cfg(target_arch = "aarch64")]
            core::arch::naked_asm!(
                "stp x29, x30, [sp, #-80]!",
                "stp x0, x1, [sp, #16]", "stp x2, x3, [sp, #32]",
                "stp x4, x5, [sp, #48]", "stp x6, x7, [sp, #64]",
                "bl {noted}",
                "mov x16, x0",
                "ldp x0, x1, [sp, #16]", "ldp x2, x3, [sp, #32]",
                "ldp x4, x5, [sp, #48]", "ldp x6, x7, [sp, #64]",
                "ldp x29, x30, [sp], #80",
                "br x16",
                noted = sym $noted
            );
        }
    };
}

export_list!(execl => note_list);
export_list!(execlp => note_list_searched);
export_list!(execle => note_list_in);

/// # Safety
///
/// A text that ends with a zero, as for all of them.
unsafe extern "C" fn note_list(path: *const c_char) -> usize {
    // SAFETY: the caller's promise.
    quietly(|| unsafe { noted(bytes(path), own()) });
    real::EXECL.place()
}

unsafe extern "C" fn note_list_searched(name: *const c_char) -> usize {
    // SAFETY: the caller's promise.
    quietly(|| unsafe { searched(bytes(name), |path| noted(path, own())) });
    real::EXECLP.place()
}

/// Its environment is behind the arguments: what is in it shows in the result.
unsafe extern "C" fn note_list_in(path: *const c_char) -> usize {
    // SAFETY: the caller's promise.
    quietly(|| unsafe { noted(bytes(path), own()) });
    real::EXECLE.place()
}
