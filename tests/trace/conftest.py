"""The projects here are traced: their tests are not this project's."""

collect_ignore = ["project", "excerpts"]
