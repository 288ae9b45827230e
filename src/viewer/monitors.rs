//! Which monitors this machine has, and the number by which the user chooses the one that full screen takes.
//!
//! They are counted from the left, and from the top where they stand above each other: a number means the same as long as the
//! monitors stay where they are, whatever order the system tells them in.

use crate::geom::Size;
use crate::viewer::ViewerError;
use std::fmt;
use winit::application::ApplicationHandler;
use winit::dpi::PhysicalPosition;
use winit::event::WindowEvent;
use winit::event_loop::{ActiveEventLoop, EventLoop};
use winit::monitor::MonitorHandle;
use winit::window::WindowId;

/// A monitor, as the user is told of it; [`fmt::Display`] makes a line of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Monitor {
    /// From 1.
    pub number: usize,
    /// What the system calls it, where it has a name.
    pub name: Option<String>,
    /// In physical pixels.
    pub size: Size,
    /// 1.0 is 100 %.
    pub scale: f64,
    /// Its upper left corner, in physical pixels of all monitors together.
    pub position: (i32, i32),
}

impl fmt::Display for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, name, size, scale, position: (x, y) } = self;
        // A name comes from the monitor itself; nothing of it may act on a terminal.
        let name: String = name.as_deref().unwrap_or("-").chars().filter(|c| !c.is_control()).collect();
        let (size, percent) = (format!("{}x{}", size.w, size.h), scale * 100.0);
        write!(f, "{number:>2}  {name:<20}  {size:>9}  {percent:>3.0} %  at {x},{y}")
    }
}

/// The monitors of this machine, in their order.
///
/// # Errors
/// [`ViewerError::Display`] where there is no window system.
pub fn list() -> Result<Vec<Monitor>, ViewerError> {
    let mut look = Look(Vec::new());
    let event_loop = EventLoop::new().map_err(ViewerError::from_begin)?;
    event_loop.run_app(&mut look).map_err(ViewerError::from_end)?;
    Ok(look.0)
}

/// The monitor of this number.
///
/// # Errors
/// [`ViewerError::NoMonitor`].
pub(super) fn find(monitors: impl Iterator<Item = MonitorHandle>, number: usize) -> Result<MonitorHandle, ViewerError> {
    let monitors = in_order(monitors);
    let count = monitors.len();
    let index = number.checked_sub(1);
    let found = index.and_then(|index| monitors.into_iter().nth(index));
    found.ok_or(ViewerError::NoMonitor { number, count })
}

fn in_order(monitors: impl Iterator<Item = MonitorHandle>) -> Vec<MonitorHandle> {
    let mut monitors: Vec<MonitorHandle> = monitors.collect();
    monitors.sort_by_key(|monitor| place(monitor.position()));
    monitors
}

/// What they are sorted by.
fn place(position: PhysicalPosition<i32>) -> (i32, i32) {
    (position.x, position.y)
}

/// Looks once the window system has told its monitors, and ends.
struct Look(Vec<Monitor>);

impl ApplicationHandler for Look {
    fn resumed(&mut self, event_loop: &ActiveEventLoop) {
        let monitors = in_order(event_loop.available_monitors());
        let told = monitors.iter().zip(1..).map(|(monitor, number)| Monitor {
            number,
            name: monitor.name(),
            size: Size::new(monitor.size().width, monitor.size().height),
            scale: monitor.scale_factor(),
            position: place(monitor.position()),
        });
        self.0 = told.collect();
        event_loop.exit();
    }

    fn window_event(&mut self, _: &ActiveEventLoop, _: WindowId, _: WindowEvent) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_monitor_is_told_in_one_line_that_no_name_can_leave() {
        let monitor = |number, name: Option<&str>, w, h, scale, position| Monitor {
            number,
            name: name.map(str::to_owned),
            size: Size::new(w, h),
            scale,
            position,
        };
        for (monitor, expected) in [
            (monitor(1, Some("DP-1"), 2560, 1440, 1.0, (0, 0)), " 1  DP-1                  2560x1440  100 %  at 0,0"),
            (monitor(2, None, 800, 600, 1.25, (-800, 40)), " 2  -                       800x600  125 %  at -800,40"),
            (
                monitor(12, Some("a\u{1b}[2J\nb"), 3840, 2160, 2.0, (2560, 0)),
                "12  a[2Jb                 3840x2160  200 %  at 2560,0",
            ),
        ] {
            assert_eq!(monitor.to_string(), expected);
        }
    }

    #[test]
    fn a_number_that_no_monitor_has_is_told_with_how_many_there_are() {
        for number in [0, 1, 7, usize::MAX] {
            let error = find(std::iter::empty(), number).expect_err("there is none");
            assert!(error.to_string().contains(&format!("no monitor {number}")), "{error}");
        }
    }
}
