"""`gta serve`: a model behind HTTP, for programs and for people.

From the outside in: `middleware` guards every request (password, size, time, log); `api` has the routes for programs
and `page` the one for people; both ask a `Service`, which has uploads read in processes of their own (`isolation`),
puts concurrent requests into batches (`batching`) and holds what is pure: predictions, changed orders of frames
(`changes`), explanations.
"""
