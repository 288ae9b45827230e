//! Where the viewer's words go besides its window: the terminal that it was started from.
//!
//! A program with windows has none on Windows, unless it takes the one of who started it. Where there is none either, an end
//! that nobody would hear of is shown in a box.

/// Takes the terminal of who started this program. Where programs have it anyway, nothing happens.
pub fn attach() {
    #[cfg(windows)]
    windows::attach();
}

/// Whether log lines may be coloured: not if the user says `NO_COLOR`, and not on Windows, where a terminal shows the codes
/// for it unless a program asks it not to.
pub fn takes_colours() -> bool {
    cfg!(not(windows)) && std::env::var_os("NO_COLOR").is_none_or(|said| said.is_empty())
}

/// Says why the program ends, in a box if there is no terminal and no file that would take it.
pub fn tell_end(text: &str) {
    #[cfg(windows)]
    if !windows::is_heard() {
        return windows::show_box(text);
    }
    eprintln!("{text}");
}

#[cfg(windows)]
#[allow(unsafe_code, reason = "Windows has its terminals and boxes in C only")]
mod windows {
    use std::iter::once;
    use std::ptr::null_mut;
    use windows_sys::Win32::Foundation::INVALID_HANDLE_VALUE;
    use windows_sys::Win32::System::Console::{ATTACH_PARENT_PROCESS, AttachConsole, GetStdHandle, STD_ERROR_HANDLE};
    use windows_sys::Win32::UI::WindowsAndMessaging::{MB_ICONERROR, MB_OK, MessageBoxW};

    pub(super) fn attach() {
        // SAFETY: takes a number. That it fails is the answer: there is no terminal, or it is attached already.
        unsafe { AttachConsole(ATTACH_PARENT_PROCESS) };
    }

    pub(super) fn is_heard() -> bool {
        // SAFETY: takes a number and gives a handle, which is not used.
        let handle = unsafe { GetStdHandle(STD_ERROR_HANDLE) };
        !handle.is_null() && handle != INVALID_HANDLE_VALUE
    }

    pub(super) fn show_box(text: &str) {
        let wide = |text: &str| -> Vec<u16> { text.encode_utf16().chain(once(0)).collect() };
        let (text, title) = (wide(text), wide("Kachel"));
        // SAFETY: both texts end with a zero and live until the box is closed; there is no window that it would belong to.
        unsafe { MessageBoxW(null_mut(), text.as_ptr(), title.as_ptr(), MB_OK | MB_ICONERROR) };
    }
}
