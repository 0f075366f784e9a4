"""What answers look like: regions coloured by their scores, reports of photographs, pages that lead through them."""
