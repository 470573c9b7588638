/* The hooks that memory_object.defs leaves open: the port of a message becomes the pager for which the calling worker
   received it.  The worker holds the reference, so there is nothing to undo.  */

#define MEMORY_OBJECT_INTRAN pager_t pager_message_target (mach_port_t)
#define MEMORY_OBJECT_IMPORTS import "engine.h";
