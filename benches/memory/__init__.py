"""What `vespiary memory` keeps of its promises, beside other ways to limit memory."""
