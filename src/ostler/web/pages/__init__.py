"""The dashboard: pages that the server renders, kept up to date by server-sent events.

A page is a function from the hub's answers to a `View`: a template, its data, and the regions of it that change by
themselves. Regions are rendered apart from the page and sent again when what they say has changed. No script is needed
to read a page or to act; with one it is live. Nothing here is imported before the first page is asked for.
"""
