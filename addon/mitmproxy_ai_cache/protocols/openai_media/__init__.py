"""OpenAI Embeddings, Moderations, Images, Speech and Transcription."""

from __future__ import annotations

from .calls import OpenAIEmbeddings, OpenAIImages, OpenAIModerations, OpenAISpeech, OpenAITranscription

PROTOCOLS = (OpenAIEmbeddings, OpenAIModerations, OpenAIImages, OpenAISpeech, OpenAITranscription)
