"""Operations that Keras saves as layers; a plain file here registers those of one family."""
