"""The web page: a photograph, its regions, their cards, a conversation. Everything that imports gradio is here."""
