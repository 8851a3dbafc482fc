// SPDX-License-Identifier: GPL-2.0
/*
 * The macros of the sysfs attributes: names and modes are those of SCST's own
 * SRP target. What they show and take is in attrs.rs.
 */
#include "shims.h"

static struct kobj_attribute login_info = __ATTR(login_info, 0444, srpt_scst_show_login_info, NULL);
static struct kobj_attribute comp_v_mask = __ATTR(comp_v_mask, 0644, srpt_scst_show_comp_v_mask, srpt_scst_store_comp_v_mask);
static struct kobj_attribute device = __ATTR(device, 0444, srpt_scst_show_device, NULL);
static struct kobj_attribute link_layer = __ATTR(link_layer, 0444, srpt_scst_show_link_layer, NULL);
static struct kobj_attribute port_id = __ATTR(port_id, 0644, srpt_scst_show_port_id, srpt_scst_store_port_id);

const struct attribute *srpt_scst_tgt_attrs[6] = {
	&comp_v_mask.attr, &device.attr, &link_layer.attr, &port_id.attr, &login_info.attr, NULL
};

static struct kobj_attribute req_lim = __ATTR(req_lim, 0444, srpt_scst_show_req_lim, NULL);
static struct kobj_attribute req_lim_delta = __ATTR(req_lim_delta, 0444, srpt_scst_show_req_lim_delta, NULL);
static struct kobj_attribute ch_state = __ATTR(ch_state, 0444, srpt_scst_show_ch_state, NULL);
static struct kobj_attribute comp_vector = __ATTR(comp_vector, 0444, srpt_scst_show_comp_vector, NULL);

const struct attribute *srpt_scst_sess_attrs[5] = {
	&req_lim.attr, &req_lim_delta.attr, &ch_state.attr, &comp_vector.attr, NULL
};
