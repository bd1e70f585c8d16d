"""Robots: recordings (bags) and a live node for ROS, without ROS where it is not needed.

May import what m2h_mm.inference may. ``rosbags``, ``rospy`` and ``rclpy`` are imported where they
are used.
"""
