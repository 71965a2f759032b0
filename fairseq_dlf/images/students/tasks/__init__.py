"""What students of images are trained for, one file a task; importing this package registers them all."""

from fairseq_dlf.images.students.tasks.aucpr import AucprTask
from fairseq_dlf.images.students.tasks.classification import Classification
from fairseq_dlf.images.students.tasks.metric import FocalTask, MarginTask, TripletTask
from fairseq_dlf.images.students.tasks.task import CLASSIFICATION, TASKS, Task

__all__ = ["CLASSIFICATION", "TASKS", "AucprTask", "Classification", "FocalTask", "MarginTask", "Task", "TripletTask"]
