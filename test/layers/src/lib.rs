//! Checks of the tree itself: see the tests.
