"""An entry as a conversation: `of(entry)` never raises, and takes about a second at most for any entry.

The stream of an answer is put together to the JSON that the call would have had without streaming, and that is read;
so each shape is understood once.
"""

from __future__ import annotations

from .entries import of, question
from .values import (
    Audio,
    Conversation,
    File,
    Image,
    Media,
    Message,
    Other,
    Part,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    Vectors,
)

__all__ = [
    "Audio",
    "Conversation",
    "File",
    "Image",
    "Media",
    "Message",
    "Other",
    "Part",
    "Text",
    "Thinking",
    "Tool",
    "ToolCall",
    "ToolResult",
    "Vectors",
    "of",
    "question",
]
