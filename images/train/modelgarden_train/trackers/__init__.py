"""Trackers: where people follow and compare trainings. None of them stops or delays one."""
