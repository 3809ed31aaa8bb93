"""Free text: lines to templates, templates to rows, rows to series."""
