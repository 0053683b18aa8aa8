"""Pointer files of DVC: the small files that stand for data which lies in a remote, by its MD5."""
