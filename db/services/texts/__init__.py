"""Texts of steps as Liquid, within bounds."""
