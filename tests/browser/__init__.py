"""Tests of the editor; a package, so that its fixtures end with the last of its tests."""
