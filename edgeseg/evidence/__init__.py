"""What shows that an alert was right: a picture of when its condition began, one of when it was raised.

``witness`` decides in the worker what to keep of a camera's pictures, which is nothing while no rule's
condition holds. ``room`` makes what an alert needs in a thread of its own: ``developing`` blanks people out,
``folder`` keeps the files within their budget.
"""
