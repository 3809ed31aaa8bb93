"""Brazilian Portuguese made uniform before it is tokenized: "São Paulo" becomes "sao paulo"."""

import re
import unicodedata


def normalize(text):
    """Lower case without accents; single spaces, paragraphs kept."""
    decomposed = unicodedata.normalize("NFD", text)
    plain = "".join(c for c in decomposed if not unicodedata.combining(c))
    return re.sub(r"[ \t]+", " ", plain.lower())
