"""What a run leaves: adapter, merged model, model card and manifest."""
