//! A printer that is drawn on: one document, page by page, strip by strip.

use super::queue::{Mode, wide};
use super::sheet::Sheet;
use super::strip::Strip;
use std::io;
use std::mem::size_of;
use std::ptr::null;
use windows_sys::Win32::Graphics::Gdi::{
    BI_RGB, BITMAPINFO, BITMAPINFOHEADER, CreateDCW, DIB_RGB_COLORS, DeleteDC, GetDeviceCaps, HDC, HORZRES, LOGPIXELSX,
    LOGPIXELSY, PHYSICALHEIGHT, PHYSICALOFFSETX, PHYSICALOFFSETY, PHYSICALWIDTH, SRCCOPY, StretchDIBits, VERTRES,
};
use windows_sys::Win32::Storage::Xps::{AbortDoc, DOCINFOW, EndDoc, EndPage, StartDocW, StartPage};

/// A printer's device context. One thread's alone.
#[derive(Debug)]
pub(super) struct Device {
    dc: HDC,
}

/// A picture's head and its colours.
#[repr(C)]
struct Picture {
    header: BITMAPINFOHEADER,
    colors: [u32; 256],
}

#[allow(unsafe_code, reason = "Windows draws in C only")]
impl Device {
    /// Opens a printer to draw on it with these settings.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn open(name: &str, mode: &Mode) -> io::Result<Device> {
        let (driver, name) = (wide("WINSPOOL"), wide(name));
        // SAFETY: the texts end with a zero, the settings are whole; Windows copies all of them.
        let dc = unsafe { CreateDCW(driver.as_ptr(), name.as_ptr(), null(), mode.as_ptr()) };
        if dc.is_null() { Err(io::Error::last_os_error()) } else { Ok(Device { dc }) }
    }

    /// What it prints on.
    pub(super) fn sheet(&self) -> Sheet {
        // SAFETY: the device context lives.
        let number = |what: u32| u32::try_from(unsafe { GetDeviceCaps(self.dc, what as i32) }).unwrap_or(0);
        Sheet {
            width: number(HORZRES),
            height: number(VERTRES),
            paper_width: number(PHYSICALWIDTH),
            paper_height: number(PHYSICALHEIGHT),
            left: number(PHYSICALOFFSETX),
            top: number(PHYSICALOFFSETY),
            dpi_x: number(LOGPIXELSX),
            dpi_y: number(LOGPIXELSY),
        }
    }

    /// Begins the document; gives the job's number.
    ///
    /// # Errors
    /// What the system says: there is no job then.
    pub(super) fn start(&self, title: &str) -> io::Result<u32> {
        let title = wide(title);
        let info = DOCINFOW {
            cbSize: size_of::<DOCINFOW>() as i32,
            lpszDocName: title.as_ptr(),
            lpszOutput: null(),
            lpszDatatype: null(),
            fwType: 0,
        };
        // SAFETY: the device context and what the structure points to live.
        let number = done(unsafe { StartDocW(self.dc, &info) })?;
        Ok(number.unsigned_abs())
    }

    /// Begins a side.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn start_page(&self) -> io::Result<()> {
        // SAFETY: the device context lives.
        done(unsafe { StartPage(self.dc) }).map(drop)
    }

    /// Ends a side.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn end_page(&self) -> io::Result<()> {
        // SAFETY: the device context lives.
        done(unsafe { EndPage(self.dc) }).map(drop)
    }

    /// Draws a strip, each of its pixels `factor` of the printer's wide and high.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn draw(&self, strip: &Strip, factor: u32) -> io::Result<()> {
        let (width, height) = (strip.width as i32, strip.height as i32);
        let mut picture = Picture { header: BITMAPINFOHEADER::default(), colors: [0; 256] };
        picture.header = BITMAPINFOHEADER {
            biSize: size_of::<BITMAPINFOHEADER>() as u32,
            biWidth: width,
            biHeight: height,
            biPlanes: 1,
            biBitCount: if strip.is_gray { 8 } else { 24 },
            biCompression: BI_RGB,
            // Wine takes the usual 0 for "none".
            biClrUsed: if strip.is_gray { 256 } else { 0 },
            ..BITMAPINFOHEADER::default()
        };
        if strip.is_gray {
            for (gray, color) in (0u32..).zip(&mut picture.colors) {
                *color = gray << 16 | gray << 8 | gray;
            }
        }
        let at = |pixels: u32| pixels.saturating_mul(factor).min(i32::MAX as u32) as i32;
        // SAFETY: the rows are as many and as long as the head says (`Strip::read`), and a palette stands behind it.
        let rows = unsafe {
            StretchDIBits(
                self.dc,
                at(strip.left),
                at(strip.top),
                at(strip.width),
                at(strip.height),
                0,
                0,
                width,
                height,
                strip.rows.as_ptr().cast(),
                (&raw const picture).cast::<BITMAPINFO>(),
                DIB_RGB_COLORS,
                SRCCOPY,
            )
        };
        done(rows).map(drop)
    }

    /// Ends the document: the spooler has all of it.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn end(&self) -> io::Result<()> {
        // SAFETY: the device context lives.
        done(unsafe { EndDoc(self.dc) }).map(drop)
    }

    /// Gives the document up.
    pub(super) fn abort(&self) {
        // SAFETY: the device context lives. Whether it helped, the queue tells.
        unsafe { AbortDoc(self.dc) };
    }
}

#[allow(unsafe_code, reason = "Windows draws in C only")]
impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: it was made, and is deleted once.
        unsafe { DeleteDC(self.dc) };
    }
}

/// GDI's answers are numbers above zero where all is well.
fn done(answer: i32) -> io::Result<i32> {
    if answer > 0 { Ok(answer) } else { Err(io::Error::last_os_error()) }
}
