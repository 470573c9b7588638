/* One pager and one or two kernels, for the programs of entry points.  */

#ifndef TESTS_SCENE_H
#define TESTS_SCENE_H

#include "store.h"

struct scene {
    struct world world;
    sk_kernel *a, *b;
    sk_object *x, *y;                       /* theirs; B and y are NULL where there is one kernel */
};

static inline void scene_open(struct scene *scene, size_t pages, int kernels, boolean_t notify)
{
    world_open(&scene->world, pages, notify);
    scene->a = sk_kernel_create("A");
    scene->x = sk_map(scene->a, scene->world.port);
    scene->b = NULL;
    scene->y = NULL;
    if (kernels > 1) {
        scene->b = sk_kernel_create("B");
        scene->y = sk_map(scene->b, scene->world.port);
    }
}

static inline void scene_close(struct scene *scene)
{
    assert_int_equal(sk_violations(scene->x), 0);
    sk_kernel_destroy(scene->a);
    if (scene->b) {
        assert_int_equal(sk_violations(scene->y), 0);
        sk_kernel_destroy(scene->b);
    }
    world_close(&scene->world);
}

#endif
