"""Client and upload handler for XFiles."""

from ._clients import AsyncXFiles, XFiles
from ._wire import XFilesError
from .webhooks import WebhookError, verify_webhook

__all__ = ["AsyncXFiles", "WebhookError", "XFiles", "XFilesError", "verify_webhook"]
