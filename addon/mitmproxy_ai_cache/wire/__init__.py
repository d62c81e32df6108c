"""What travels: messages, bodies, content codings, stream framings, and how text from strangers is shown."""
