/* <mach/mach4.h>: proxy memory objects. */

#ifndef HOSTMACH_MACH4_H
#define HOSTMACH_MACH4_H

#include <mach/kern_return.h>
#include <mach/mach_types.h>
#include <mach/message.h>
#include <mach/port.h>
#include <mach/std_types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* *proxy: a send right to a new memory object that stands for object[0] from start[0] on, len[0] bytes, with at most
   max_protection. The kernel knows how to map it (hostmach_proxy_lookup). Exactly one object, offset, start and len;
   offset[0] must be 0 (KERN_INVALID_ARGUMENT otherwise). object[0] is taken as objectPoly says. The proxy goes when
   its last send right goes, and releases the object then. */
extern kern_return_t memory_object_create_proxy (mach_port_t task, vm_prot_t max_protection,
                                                 const memory_object_array_t object, mach_msg_type_name_t objectPoly,
                                                 mach_msg_type_number_t objectCnt, const vm_offset_array_t offset,
                                                 mach_msg_type_number_t offsetCnt, const vm_offset_array_t start,
                                                 mach_msg_type_number_t startCnt, const vm_size_array_t len,
                                                 mach_msg_type_number_t lenCnt, mach_port_t *proxy);

#ifdef __cplusplus
}
#endif

#endif
