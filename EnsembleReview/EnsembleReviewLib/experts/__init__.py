"""Who may be asked: models of the registry, masks and probability maps from files, and large models where installed.

``interface``   a case, an expert, and how it is asked
``channels``    which image is the FLAIR
``from_files``  masks and probability maps that are there already
``registry``    models with a card
``sam3``        SAM 3 from a local checkpoint (needs transformers); ``prompts``: what it is shown
``medgemma``    MedGemma, which advises and has no vote
"""
