"""The diagrams of the documents, drawn, so that none is broken."""
