"""The known bugs of real batch norms, runnable, and the right implementations beside them."""
