"""An entry as a conversation: `of(entry)` never raises, and takes about a second at most for any entry.

The stream of an answer is put together to the JSON that the call would have had without streaming, and that is read;
so each shape is understood once.
"""

from __future__ import annotations

from .answers import AnswerParts
from .entries import about, answer, in_words, of, question
from .values import (
    Audio,
    Conversation,
    File,
    Image,
    Media,
    Message,
    Other,
    Part,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    Vectors,
)

__all__ = [
    "AnswerParts",
    "Audio",
    "Conversation",
    "File",
    "Image",
    "Media",
    "Message",
    "Other",
    "Part",
    "Refusal",
    "Text",
    "Thinking",
    "Tool",
    "ToolCall",
    "ToolResult",
    "Vectors",
    "about",
    "answer",
    "in_words",
    "of",
    "question",
]
