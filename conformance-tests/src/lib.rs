//! The suite that proves a session store.
