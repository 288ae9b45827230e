#[cfg(feature = "viewer")]
mod ui_pages;
