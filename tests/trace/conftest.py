"""The project here is one that is traced: its tests are not this project's."""

collect_ignore = ["project"]
