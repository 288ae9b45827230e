//! The desktop application: its own few pages and the words on them.
pub mod locale;
pub mod ui;
