//! Which tokens will the model probably say?
