//! Which byte comes next, when the model speaks tokens?
