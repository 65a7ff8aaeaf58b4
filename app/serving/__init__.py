"""The server itself: who may come in, and what is used of Streamlit's inside."""
